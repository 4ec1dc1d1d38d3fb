"""From rows to ranks: leaderboards and their statistics."""
