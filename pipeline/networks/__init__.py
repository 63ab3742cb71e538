"""Networks over packed sequences, and weights into them."""
