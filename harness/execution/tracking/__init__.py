"""Runs as experiment trackers show them while they go on: one listener, and a log of a cell per tracker."""
