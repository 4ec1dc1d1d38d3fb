"""Facts about machines: versions, devices, where a row comes from, and what keeps them from working."""
