"""Rows, plans and leaderboards as rich, Markdown, LaTeX, CSV and JSON."""
