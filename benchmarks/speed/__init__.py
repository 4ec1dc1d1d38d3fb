"""Benchmarks of the parts that dominate a split's run time, against plain references."""
