"""Feeds: what serves the rankings gets each publication's changes; one file per kind of target."""
