"""Verbs that work on a single model."""
