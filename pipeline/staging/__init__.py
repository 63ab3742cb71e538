"""Staged copies: whatever a candidate list is, once as Parquet with the texts inside."""
