"""What a run will do: its cells compared with rows, their memory, and rows of data that has changed."""
