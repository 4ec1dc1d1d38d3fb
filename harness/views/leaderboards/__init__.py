"""Leaderboards and comparisons for the terminal and as Markdown, LaTeX, CSV and JSON."""
