"""What runs and sweeps show while they work, and the trackers that they report to."""
