"""Rows as a file has them: its own columns, where each row stands, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RawRows:
    """Some rows of a file in order.

    Attributes:
        columns: by the file's names, those in a list as ``list.name``, [N] each.
        rows: int64 [N], row in Parquet, record in CSV, byte of the line in other text.
        items: int64 [N], place in a nested list.
        faults: what is wrong with a row that is none, by its place among these.
        bare: places of queries without any candidate.
    """

    columns: Mapping[str, pa.Array]
    rows: Ints
    items: Ints
    faults: Mapping[int, str] = field(default_factory=dict)
    bare: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, places: Ints) -> RawRows:
        """The rows at some places, which ascend."""
        index = pa.array(places)
        position = {int(place): number for number, place in enumerate(places)}
        return RawRows(
            columns={name: values.take(index) for name, values in self.columns.items()},
            rows=self.rows[places],
            items=self.items[places],
            faults={position[p]: told for p, told in self.faults.items() if p in position},
            bare=tuple(position[p] for p in self.bare if p in position),
        )
