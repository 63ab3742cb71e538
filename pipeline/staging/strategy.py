"""How a copy is made: in memory, range by range beside a broadcast corpus, or by a shuffle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.config import InputConfig
from pipeline.sources.source import Shard, Source, read_shard

Kind = Literal["in_memory", "ranges", "broadcast", "shuffle"]

_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is done at once, in bytes.

    Attributes:
        in_memory: decoded, of all sources together, up to which they are read into one process:
            some seconds of a core, less than Ray takes to start.
        part: of a part: large enough that files are few, small enough that a worker has room for
            it and that little is lost with one.
        shard: of a source, that a task reads which looks at it or sends it on.
    """

    in_memory: int = 256 << 20
    part: int = 192 << 20
    shard: int = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a copy is made of.

    Attributes:
        candidates: the lists.
        corpus: their documents; None: they stand beside them.
        queries: their queries; likewise.
    """

    candidates: Source
    corpus: Source | None = None
    queries: Source | None = None

    @property
    def all(self) -> tuple[Source, ...]:
        """Those that there are."""
        found = (self.candidates, self.corpus, self.queries)
        return tuple(source for source in found if source is not None)

    @property
    def size_bytes(self) -> int:
        """Of all of them in memory, about."""
        return sum(source.size_bytes for source in self.all)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How, and why.

    Attributes:
        kind: in_memory: everything is read into one process. ranges: a part is a range of the
            candidates, which are all that there is. broadcast: likewise, and every node has the
            corpus and the queries. shuffle: rows that belong together are brought together.
        reason: in words.
        by_document: whether candidates must be brought to their documents.
        by_query: whether queries must be brought to their candidates.
    """

    kind: Kind
    reason: str
    by_document: bool = False
    by_query: bool = False


def first_look(config: InputConfig, sources: Sources, sizes: Sizes) -> Strategy | None:
    """What sizes settle; None where it depends on whether queries are scattered."""
    size = sources.size_bytes
    if size <= sizes.in_memory:
        return Strategy(
            kind="in_memory",
            reason=f"about {_mib(size)} in all, no more than {_mib(sizes.in_memory)}",
        )
    large = [
        (role, source)
        for role, source in (("corpus", sources.corpus), ("queries", sources.queries))
        if source is not None and source.size_bytes > config.broadcast_mib * _MIB
    ]
    if large:
        said = " and ".join(f"{role} of about {_mib(source.size_bytes)}" for role, source in large)
        roles = [role for role, _ in large]
        return Strategy(
            kind="shuffle", by_document="corpus" in roles, by_query="queries" in roles,
            reason=f"{said}, more than input.broadcast_mib = {config.broadcast_mib:g}",
        )  # fmt: skip
    if config.order == "scattered":
        return Strategy(kind="shuffle", reason="input.order says that queries are scattered")
    return None


def settled(sources: Sources, repeated: str | None) -> Strategy:
    """The strategy where sizes allowed either.

    Args:
        sources: what there is.
        repeated: a query that stands in two places; None: each stands together.
    """
    if repeated is not None:
        return Strategy(
            kind="shuffle",
            reason=f"queries are scattered: the rows of query_id {repeated!r} are in two places",
        )
    beside = [source for source in sources.all if source.role != "candidates"]
    if not beside:
        return Strategy(kind="ranges", reason="queries stand together, with their texts")
    said = " and ".join(f"{s.role} of about {_mib(s.size_bytes)}" for s in beside)
    return Strategy(
        kind="broadcast",
        reason=f"queries stand together, and every node has room for the {said}",
    )


def row_bytes(source: Source, shards: Sequence[Shard]) -> float:
    """Bytes of a row in memory, by the first rows of the source."""
    for shard in shards:
        for table in read_shard(source, shard):
            return float(table.nbytes / max(1, table.num_rows))
    return 0.0


def _mib(size: float) -> str:
    return f"{size / _MIB:,.0f} MiB"
