"""The module: a small network for one class, its score and the calibration of scores, its input format."""
