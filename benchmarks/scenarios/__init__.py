"""Scenarios: the ways in which splitters are measured."""
