"""Training sets as they lie in a store: folder, checks, exports, data card."""
