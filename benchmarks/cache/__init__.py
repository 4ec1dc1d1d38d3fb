"""The cache of what is expensive to compute: trained weights, splits, checkpoints; machines can share it."""
