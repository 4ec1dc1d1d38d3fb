"""How a module's kernels are ranked and counted."""
