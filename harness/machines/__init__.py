"""What machines are and have: versions, devices, and what keeps them from working."""
