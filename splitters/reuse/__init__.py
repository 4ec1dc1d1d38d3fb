"""Modules in use: composed models, patched models, and the files of both."""
