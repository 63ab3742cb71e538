"""Several models over one sample of an input: how good, how fast, and how alike they are."""
