"""Paired comparisons: tests on the seeds that two splitters both have, and the ranks that follow from them."""
