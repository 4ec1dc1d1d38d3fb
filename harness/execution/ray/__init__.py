"""Cells on Ray: capacity, dispatch, workers."""
