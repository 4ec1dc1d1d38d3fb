"""Cells and their rows for the terminal."""
