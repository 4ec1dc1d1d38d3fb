"""Benchmarks: what is measured, on which data and base models, and what a row of results holds."""
