"""A small student, trained on a set for a few minutes, to see whether the set teaches."""
