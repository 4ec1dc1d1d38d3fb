"""A splitter, a scenario and a data set for Splitbench."""
