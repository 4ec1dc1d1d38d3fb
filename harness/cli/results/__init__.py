"""Verbs that read results, and what there is to choose from."""
