"""Networks as data: safetensors files with a typed header, and the description of a network in them."""
