"""A corpus, or queries: what candidates refer to, read once for those that a sample needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.hashes import Hashes, stable_hashes
from pipeline.inspection.referring import hashes_of, key_text, readable, shards_to_read
from pipeline.inspection.tables import table_facts
from pipeline.sources.source import Source

_MOST_EXAMPLES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Referred:
    """What a source says.

    Attributes:
        ids: hashes of its ids, sorted, each once.
        rows: how many it has.
        whole: whether all of it was read.
        found: rows with one of the ids that were asked for, the first one of each.
        damage: what a run would stop at; the rows before it count, and those of other shards.
        differing: an id that stands there with two contents; None: there is none.
        differ: how many do.
    """

    ids: Hashes
    rows: int
    whole: bool
    found: pa.Table
    damage: list[str]
    differing: str | None
    differ: int

    def missing(self, asked: list[Hashes]) -> tuple[int, int]:
        """How many of some references lead nowhere, and to how many different ids."""
        flat = np.concatenate([np.zeros(0, dtype=np.uint64), *asked])
        different, counts = np.unique(flat, return_counts=True)
        gone = ~np.isin(different, self.ids, assume_unique=True)
        return int(counts[gone].sum()), int(gone.sum())

    def facts(self, source: Source, asked: list[Hashes], path: list[str]) -> dict[str, Any]:
        """As plain data; what is missing is null where not all of it was read."""
        references, ids = self.missing(asked) if self.whole else (None, None)
        return {
            "path": path,
            "format": source.format,
            "files": len(source.files),
            "bytes": sum(file.size for file in source.files),
            "rows": self.rows,
            "tables": table_facts(source),
            "whole": self.whole,
            "damaged": bool(self.damage),
            "repeated": self.rows - len(self.ids),
            "missing_references": references,
            "missing_ids": ids,
        }


def read_referred(source: Source, name: str, content: list[str], wanted: pa.Array) -> Referred:
    """Read a corpus or queries.

    Args:
        source: of it.
        name: our name of its ids.
        content: our names of what must be the same wherever an id stands again.
        wanted: ids as text whose rows are kept.
    """
    kept: list[pa.Table] = []
    damage: list[str] = []
    ids: list[Hashes] = []
    contents: list[Hashes] = []
    shards, whole = shards_to_read(source)
    texts = [one for one in content if one in source.schema.names]
    for shard in shards:
        for table in readable(source, shard, damage, columns=[name, *texts, schema.REASON]):
            keys = key_text(table.column(name))
            table = table.append_column("_key", keys).filter(pc.is_valid(keys))
            ids.append(hashes_of(table.column("_key").combine_chunks()))
            contents.append(_content_hashes(table.select(texts)))
            kept.append(table.filter(pc.is_in(table.column("_key"), value_set=wanted)))
    flat = np.concatenate([np.zeros(0, dtype=np.uint64), *ids])
    same = np.concatenate([np.zeros(0, dtype=np.uint64), *contents])
    doubtful = _with_two(flat, same)
    return Referred(
        ids=np.unique(flat),
        rows=len(flat),
        whole=whole and not damage,
        found=_first_of_each(kept, source, name, texts),
        damage=damage,
        differing=_named(source, name, int(doubtful[0])) if len(doubtful) else None,
        differ=len(doubtful),
    )


def _content_hashes(table: pa.Table) -> Hashes:
    columns = [column.cast(pa.string()).fill_null("\0").to_pylist() for column in table.columns]
    if not columns:
        return np.zeros(table.num_rows, dtype=np.uint64)
    return stable_hashes("\x1f".join(values) for values in zip(*columns, strict=True))


def _with_two(ids: Hashes, contents: Hashes) -> Hashes:
    """Ids [D] that stand with more than one content."""
    pairs = np.unique(np.stack([ids, contents], axis=1), axis=0)
    different, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.asarray(different[counts > 1], dtype=np.uint64)


def _first_of_each(kept: list[pa.Table], source: Source, name: str, texts: list[str]) -> pa.Table:
    if not kept:
        fields = [source.schema.field(one) for one in [name, *texts, schema.REASON]]
        return pa.schema([*fields, pa.field("_key", pa.string())]).empty_table()
    table = pa.concat_tables(kept)
    keys = table.column("_key").combine_chunks()
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return table.take(pa.array(np.sort(np.unique(codes, return_index=True)[1])))


def _named(source: Source, name: str, wanted: int) -> str:
    """The id that has a hash."""
    for shard in shards_to_read(source)[0]:
        for table in readable(source, shard, [], columns=[name]):
            keys = key_text(table.column(name)).drop_null()
            places = np.flatnonzero(hashes_of(keys) == np.uint64(wanted))
            if len(places):
                return str(keys[int(places[0])].as_py())
    return ""
