"""Parquet in and out; what is read is judged before it is decoded."""

from __future__ import annotations

from pipeline.storage.parquet.files import (
    Footer,
    columns_of,
    read_footer,
    read_metadata,
    read_rows,
    read_table,
    table_of,
    to_bytes,
)

__all__ = [
    "Footer",
    "columns_of",
    "read_footer",
    "read_metadata",
    "read_rows",
    "read_table",
    "table_of",
    "to_bytes",
]
