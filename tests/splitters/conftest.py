"""Puts this folder on the import path, for the helpers that the tests of all rooms share."""
