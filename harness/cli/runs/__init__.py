"""Verbs that run cells, and what they show meanwhile."""
