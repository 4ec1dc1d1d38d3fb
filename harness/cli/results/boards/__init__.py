"""Commands that compare: leaderboards, pairs of splitters, fronts of sweeps, fusion rules, the report."""
