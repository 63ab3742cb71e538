"""Attention over sequences in one flat tensor: who sees whom, and the kernels that compute it."""
