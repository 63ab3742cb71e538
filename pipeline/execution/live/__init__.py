"""A run while it runs: one snapshot of its numbers each second, for whoever shows or sends them."""
