"""The row that a cell writes: its columns, their documentation, and the figures of papers beside it."""
