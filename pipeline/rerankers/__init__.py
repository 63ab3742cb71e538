"""One file per model family, each with encode, forward and decode."""
