"""Clusters of several machines: their files, the cost of a run, and how work gets there."""
