"""Clusters of several machines: what their files say, what a run on them costs, and how work gets there."""
