"""Files that carry their own sha256, so that a damaged one is known by itself: Parquet and JSON.

Page checksums cover a Parquet file's data but not its footer, so the seal of one, which is an entry
of its footer, covers all of it (:mod:`pipeline.storage.seals`).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.storage.parquet import to_bytes
from pipeline.storage.seals import (
    SEAL,
    NotWholeError,
    blank,
    is_whole,
    refuse_damage,
    sealed,
    sealed_json,
    unsealed_json,
)

__all__ = [
    "SEAL",
    "NotWholeError",
    "is_whole",
    "refuse_damage",
    "sealed_bytes",
    "sealed_json",
    "unsealed_json",
]


def sealed_bytes(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """A table as one sealed Parquet file; the same table gives the same bytes."""
    return sealed(to_bytes(table, metadata=metadata, footer={SEAL: blank()}))
