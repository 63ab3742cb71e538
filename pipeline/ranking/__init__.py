"""Ranks and ties, and the evaluation of ranked runs against relevance judgements (qrels)."""
