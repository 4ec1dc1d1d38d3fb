"""What a run will do: cells against rows, the memory they need, data that changed since."""
