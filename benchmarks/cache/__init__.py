"""What is expensive to compute and kept: trained weights, splits, checkpoints; shared between machines."""
