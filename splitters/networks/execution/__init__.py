"""How networks are executed: in which precision, compiled or not, and how many modules at a time."""
