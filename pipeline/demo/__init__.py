"""The demo: a real search over Python's own documentation."""
