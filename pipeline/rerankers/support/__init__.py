"""What families share: checkpoints, weights, tokens, padding, model cards, and finding a family."""
