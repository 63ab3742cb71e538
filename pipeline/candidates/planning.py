"""The plan: an input cut into units by its footers, each named by its content.

A unit is a range of global rows; which whole queries it owns follows from the reading rule in
:mod:`pipeline.candidates.reading`. Its name hashes what it reads and everything that changes a
score, so a unit's file can only ever hold one content, and resuming is a listing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.reading import count_rows_of_queries
from pipeline.candidates.unchanged import read_unchanged

PLAN_SCHEMA = pa.schema(
    [
        pa.field(schema.UNIT, pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("stop", pa.int64(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A piece of work.

    Attributes:
        name: 24 hex digits from content.
        start: first global row of its range.
        stop: row after the last.
        documents: candidates in the range by the footers; the owned lists differ a little.
    """

    name: str
    start: int
    stop: int
    documents: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All units of a run.

    Attributes:
        run_id: 16 hex digits from all unit names.
        fingerprint: what changes scores, hashed.
        units: in input order.
    """

    run_id: str
    fingerprint: str
    units: tuple[Unit, ...]

    @property
    def documents(self) -> int:
        """Candidates of all units by the footers."""
        return sum(unit.documents for unit in self.units)

    def to_table(self) -> pa.Table:
        """The plan as written to ``plan.parquet``."""
        rows = [
            {
                schema.UNIT: unit.name,
                "start": unit.start,
                "stop": unit.stop,
                "documents": unit.documents,
            }
            for unit in self.units
        ]
        return pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table, *, run_id: str, fingerprint: str) -> Plan:
        """The inverse of :meth:`to_table`."""
        units = tuple(
            Unit(
                name=row[schema.UNIT],
                start=row["start"],
                stop=row["stop"],
                documents=row["documents"],
            )
            for row in table.to_pylist()
        )
        return cls(run_id=run_id, fingerprint=fingerprint, units=units)


def plan_units(
    source: Input,
    *,
    documents: int,
    first: int | None = None,
    fingerprint: str,
    limit: int | None = None,
) -> Plan:
    """Cut the input into units of about ``documents`` candidates.

    Cuts fall on row-group edges where those allow, so that no row group is decoded twice.

    Args:
        source: the opened input.
        documents: target size of a unit.
        first: target size of the first unit, from which units grow to ``documents``: each is as
            large as all before it together. None: all are of one size.
        fingerprint: digest of everything that changes scores.
        limit: only the rows of the first ``limit`` queries.
    """
    rows = source.rows
    if limit is not None:
        rows = read_unchanged(source, lambda opened: count_rows_of_queries(opened, limit))
    targets = _Targets(documents if first is None else first, documents)
    units = []
    for start, stop, size in _merged(_pieces(source, rows, targets), targets):
        name = _digest([fingerprint, rows == source.rows or rows, *_touched(source, start, stop)])
        units.append(Unit(name=name[:24], start=start, stop=stop, documents=size))
    run_id = _digest([fingerprint, *(unit.name for unit in units)])[:16]
    return Plan(run_id=run_id, fingerprint=fingerprint, units=tuple(units))


@dataclass(frozen=True)
class _Targets:
    """Documents that a unit is to have, by how many stand before it: small ones first."""

    first: int
    most: int

    def after(self, documents: int) -> int:
        return min(self.most, max(self.first, documents))


def _pieces(source: Input, rows: int, targets: _Targets) -> Iterator[tuple[int, int, int]]:
    """Row groups as (start, stop, documents), those that are larger than a unit cut.

    While units grow, what they need is cut off; the rest of a row group falls into equal parts.
    """
    done = 0
    for file in source.files:
        start = file.first
        limits = file.most_parts or (None,) * len(file.row_groups)
        for count, size, most in zip(file.row_groups, file.documents, limits, strict=True):
            least = 0 if most is None else -(-size // most)
            lower, stop = start, min(start + count, rows)
            while lower < stop:
                kept = round(size * (stop - lower) / count)
                target = max(targets.after(done), least)
                if target < min(max(targets.most, least), kept):
                    edges = [lower, min(stop, lower + max(1, round(target * count / size)))]
                else:
                    parts = min(stop - lower, max(1, -(-kept // target)))
                    edges = [lower + (stop - lower) * i // parts for i in range(parts + 1)]
                for lower, upper in pairwise(edges):
                    piece = round(size * (upper - lower) / count)
                    yield lower, upper, piece
                    done += piece
                lower = edges[-1]
            start += count


def _merged(
    pieces: Iterable[tuple[int, int, int]], targets: _Targets
) -> Iterator[tuple[int, int, int]]:
    """Neighbouring pieces joined while they fit the target together."""
    current: tuple[int, int, int] | None = None
    done = 0
    for start, stop, size in pieces:
        if current is not None and current[2] + size <= targets.after(done):
            current = (current[0], stop, current[2] + size)
            continue
        if current is not None:
            yield current
            done += current[2]
        current = (start, stop, size)
    if current is not None:
        yield current


def _touched(source: Input, start: int, stop: int) -> list[object]:
    """Identity of the files that a unit reads, with its local ranges and its neighbours' rows."""
    named: list[object] = [
        [*_identity(file, source.base), lower, upper]
        for file, lower, upper in source.pieces(start, stop)
    ]
    neighbours = [*source.pieces(max(0, start - 1), start), *source.pieces(stop, stop + 1)]
    return named + [[*_identity(file, source.base), lower] for file, lower, _ in neighbours]


def _identity(file: InputFile, base: str) -> list[object]:
    identity = file.identity
    return [identity.path.removeprefix(base), identity.size, identity.version]


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
