"""What files may hold: names and settings, a JSON schema for editors, and the reference of suites and sweeps."""
