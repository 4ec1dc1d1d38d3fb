"""Running modules: masks, masked forward passes, extracted networks, their logits and their cost."""
