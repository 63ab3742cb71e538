"""A run's report as one HTML page: no scripts, nothing fetched, everything from outside escaped."""
