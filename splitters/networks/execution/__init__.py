"""How networks are executed: in which precision, and how many modules at a time."""
