"""What files of candidates, of a corpus or of queries are, and their rows as canonical tables."""
