"""The channel graph: which channels a module may drop, and which must stay or go together."""
