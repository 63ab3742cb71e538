"""A corpus or queries as a table that is looked into by id, in every process without a copy.

What is compared is the text of an id: 7 meets "7", and nothing else is made equal. Hashes of 64
bits say where to look; the ids themselves decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.hashes import Hashes, stable_hashes

#: The text of the id that rows are joined by; null where a row has none.
KEY: Final = "_key"

#: Columns that say where a row is from and are no part of its content.
PLACES: Final = ("_file", "_row", "_item")

_SHOWN: Final = 80

Ints = npt.NDArray[np.int64]


def key_text(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Text of ids [N], null for null."""
    text = ids.cast(pa.string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def key_hashes(keys: pa.Array) -> Hashes:
    """uint64 [N]: a hash of each key, the same everywhere; that of the empty text for null."""
    codes = pc.dictionary_encode(pc.fill_null(keys, ""))
    distinct: Hashes = stable_hashes(codes.dictionary.to_pylist())
    return np.asarray(distinct[codes.indices.to_numpy(zero_copy_only=False)])


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """The rows of a corpus or of queries, each id once.

    Attributes:
        rows: table [N] with :data:`KEY`, content, and reason where something is wrong with a row.
        order: int64 [N], rows by hash.
        hashes: uint64 [N], in this order.
    """

    rows: pa.Table
    order: Ints
    hashes: Hashes

    @classmethod
    def of(cls, table: pa.Table, id_column: str, *, role: str, files: tuple[str, ...]) -> Lookup:
        """The lookup of rows as :func:`pipeline.sources` reads them.

        Args:
            table: rows [M]; those without an id are left out.
            id_column: name of the id.
            role: corpus or queries, for messages.
            files: paths of the files that ``_file`` counts.

        Raises:
            InputContractError: an id stands there with two different contents.
        """
        keys = key_text(table.column(id_column))
        rows = widened(table.append_column(KEY, keys).drop_columns([id_column]))
        if keys.null_count:
            rows = rows.filter(pc.is_valid(rows.column(KEY)))
        rows = rows.combine_chunks()
        hashes = key_hashes(_one(rows.column(KEY)))
        order = np.argsort(hashes, kind="stable")
        kept = _distinct(rows, hashes, order, role, files)
        order = order[kept]
        content = [name for name in rows.column_names if name not in PLACES]
        return cls(rows=rows.select(content), order=order, hashes=hashes[order])

    @property
    def row_bytes(self) -> float:
        """Bytes of a row on average."""
        return float(self.rows.nbytes / max(1, self.rows.num_rows))

    def places(self, keys: pa.Array) -> Ints:
        """int64 [M]: the row of each key, -1 where there is none."""
        found = np.full(len(keys), -1, dtype=np.int64)
        if len(self.hashes) == 0 or len(keys) == 0:
            return found
        wanted = key_hashes(keys)
        place = np.searchsorted(self.hashes, wanted)
        own = _one(self.rows.column(KEY))
        open_ = np.flatnonzero(pc.is_valid(keys).to_numpy(zero_copy_only=False))
        while len(open_):
            at = place[open_]
            there = at < len(self.hashes)
            open_, at = open_[there], at[there]
            near = self.hashes[at] == wanted[open_]
            open_, at = open_[near], at[near]
            rows = self.order[at]
            same = pc.equal(
                own.take(pa.array(rows)), keys.take(pa.array(open_)).cast(own.type)
            ).to_numpy(zero_copy_only=False)
            found[open_[same]] = rows[same]
            open_ = open_[~same]
            place[open_] += 1
        return found

    def take(self, columns: list[str], places: Ints) -> dict[str, pa.Array]:
        """Columns at some places [M], null at -1."""
        index = pa.array(places, mask=places < 0)
        return {name: _one(self.rows.column(name)).take(index) for name in columns}


def widened(table: pa.Table) -> pa.Table:
    """Text and bytes in types whose arrays may have more than 2 GiB."""
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    fields = [field.with_type(wide.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _distinct(
    rows: pa.Table, hashes: Hashes, order: Ints, role: str, files: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """bool [N] in the order of hashes: the first row of each id."""
    kept = np.ones(len(order), dtype=bool)
    keys = _one(rows.column(KEY))
    ordered = hashes[order]
    equal = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    first_of: dict[str, int] = {}
    for place in equal.tolist():
        for neighbour in (place - 1, place):
            row = int(order[neighbour])
            key = keys[row].as_py()
            known = first_of.setdefault(key, row)
            if known != row:
                _refuse_different(rows, known, row, role, files)
                kept[neighbour] = False
    return kept


def _refuse_different(
    rows: pa.Table, first: int, second: int, role: str, files: tuple[str, ...]
) -> None:
    content = [name for name in rows.column_names if name not in (*PLACES, schema.MESSAGE)]
    one, other = (rows.slice(row, 1).to_pylist()[0] for row in (first, second))
    different = [name for name in content if one[name] != other[name]]
    if not different:
        return
    name = different[0]
    raise InputContractError(
        f"input.{role}: id {one[KEY]!r} stands twice with different contents: {name} is "
        f"{_shown(one[name])} at {place_of(one, files)}, and {_shown(other[name])} at "
        f"{place_of(other, files)}; keep one of them"
    )


def place_of(row: dict[str, Any], files: tuple[str, ...]) -> str:
    """Where a row is from, in words."""
    return f"{files[row['_file']]}, row or byte {row['_row']}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
