"""Whether a finished run is good enough to be published in place of the one before."""
