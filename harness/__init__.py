"""How work is run, stored and shown."""
