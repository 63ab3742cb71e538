"""Which run of an output folder is the one to read: published, looked up, rolled back, retired."""
