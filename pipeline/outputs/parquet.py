"""Ranked Parquet: every row with every column, described and sealed by the footer.

It is what each run is made of: a unit's Parquet file is the unit's commit record.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.outputs.base import Sink
from pipeline.outputs.sealed import sealed_bytes


class Parquet(Sink):
    """One Parquet file with its own sha256 in the footer, see :mod:`pipeline.outputs.sealed`."""

    suffix = ".parquet"

    def write(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """The rows as they are; ``about`` becomes metadata of the schema."""
        return sealed_bytes(rows, about)
