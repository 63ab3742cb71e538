"""Images of candidates: where they may be read from, and how they become pixels."""
