"""The study of a sweep: its trials, rebuilt from rows, and its results."""
