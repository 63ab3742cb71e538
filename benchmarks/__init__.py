"""Measurements with their result files; each module's docstring gives the command."""
