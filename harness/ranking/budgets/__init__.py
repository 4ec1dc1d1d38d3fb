"""Splitters at equal budgets of kernels, loss or time, from the states that they recorded."""
