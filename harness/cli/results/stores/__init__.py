"""Verbs that change results folders: merge, compact, forget."""
