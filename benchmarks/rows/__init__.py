"""The row that a cell writes: its columns, their documentation, and published figures to compare with."""
