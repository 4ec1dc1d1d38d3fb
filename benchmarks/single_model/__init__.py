"""Work on a single model: train it, split it into module files, patch it, score it."""
