"""Verbs that prepare and use clusters."""
