"""One file per training format: projections of the canonical training set, found by file name."""
