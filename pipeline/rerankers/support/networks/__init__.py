"""Networks that transformers does not have; imported when a replica loads, never before."""
