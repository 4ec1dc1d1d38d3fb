"""A model as a small graph of known operations, with batch norms folded."""
