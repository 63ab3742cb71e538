"""Engines side by side: the package's own and its peers, by turns in one process, in pairs."""
