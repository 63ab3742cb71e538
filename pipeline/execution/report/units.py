"""The units of a run as its report counts them, and a sample of their rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import RerankError
from pipeline.execution.runs.ranked_reader import published_manifest, read_unit
from pipeline.execution.runs.reading import mapped
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import Totals, UnitCounts

logger = logging.getLogger("pipeline")

#: What is read of a large run for its distributions.
_MOST_UNITS: Final = 24
_MOST_DOCUMENTS: Final = 200_000

#: Units that are read at once.
_READERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows of some units of a run.

    Attributes:
        table: their rows.
        lists: int64 [N], ascending: the candidate list that each row is of.
        chosen: these units.
        of_units: how many are committed.
        of_documents: rows of those.
        unreadable: units that could not be read, and are left out.
    """

    table: pa.Table
    lists: np.ndarray[Any, np.dtype[np.int64]]
    chosen: tuple[UnitCounts, ...]
    of_units: int
    of_documents: int
    unreadable: int


def units_of(folder: RunFolder) -> list[UnitCounts]:
    """Counts of every committed unit: by the manifest where there is one, else by their files.

    Raises:
        DamagedRunError: the manifest or the plan is not as it was written.
    """
    if folder.finished():
        return [UnitCounts.from_entry(unit) for unit in published_manifest(folder)["units"]]
    plan, committed = folder.plan(), set(folder.committed())
    names = [unit.name for unit in plan.units if unit.name in committed]
    found = folder.counts(names, plan.run_id)
    return [counts.compact() for counts in found if counts is not None]


def totals(units: Iterable[UnitCounts]) -> dict[str, Any]:
    """What committed units hold together."""
    found = Totals.of(units)
    return {
        "units_committed": found.units,
        "queries": found.queries,
        "documents": found.documents,
        "tokens": found.tokens,
        "quarantined": found.quarantined,
        "reused": found.reused,
        "reasons": found.reasons,
        "special_tokens": found.special_tokens,
    }


def sampled(units: Collection[UnitCounts]) -> list[UnitCounts]:
    """Units spread evenly over a run, the same ones every time: all of them where they are few.

    Spread so, and not drawn, because inputs are often sorted by something that scores depend on.
    """
    sizes = np.fromiter((unit.documents for unit in units), np.int64, len(units))
    filled = np.flatnonzero(sizes)
    count = min(len(filled), _MOST_UNITS)
    chosen = filled[: count and 1]
    while count > 1:
        places = filled[np.linspace(0, len(filled) - 1, count).round().astype(int)]
        if sizes[places].sum() <= _MOST_DOCUMENTS:
            chosen = places
            break
        count -= 1
    wanted = frozenset(chosen.tolist())
    return [unit for place, unit in enumerate(units) if place in wanted]


def read_sample(folder: RunFolder, run_id: str, units: Collection[UnitCounts]) -> Sample | None:
    """Rows of :func:`sampled` units; None where there are none.

    What is damaged is left out and counted: a report is also made of what went wrong.
    """
    columns = [*schema.RANKED_COLUMNS]
    tables, read, unreadable = [], [], 0
    for unit in sampled(units):
        try:
            tables.append(read_unit(folder, run_id, unit.unit, columns))
            read.append(unit)
        except RerankError as error:
            unreadable += 1
            logger.warning("left out of the report: %s", error)
    if not tables:
        return None
    return Sample(
        table=pa.concat_tables(tables),
        lists=_lists(tables),
        chosen=tuple(read),
        of_units=len(units),
        of_documents=sum(unit.documents for unit in units),
        unreadable=unreadable,
    )


def rows_of(
    folder: RunFolder,
    units: Sequence[UnitCounts],
    queries: Collection[str] | None,
    columns: Sequence[str],
) -> Iterator[pa.Table]:
    """The rows of some queries, as :func:`rows_by_unit` finds them.

    Raises:
        DamagedRunError: a file is gone or not as it was written.
    """
    for _, table in rows_by_unit(folder, units, queries, columns):
        yield table


def rows_by_unit(
    folder: RunFolder,
    units: Sequence[UnitCounts],
    queries: Collection[str] | None,
    columns: Sequence[str],
    *,
    damaged: Callable[[RerankError], object] | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """The rows of some queries with the unit that they are of, in the order of the units.

    Some units are read at a time, and of each the rows of these queries are kept.

    Args:
        folder: the run.
        units: where to look.
        queries: ids, as text; None: all.
        columns: what to read; ``query_id`` comes as text.
        damaged: told of a unit that cannot be read, which is left out; None: that is raised.

    Raises:
        DamagedRunError: see above.
    """
    run_id = folder.describe()["run_id"]
    wanted = None if queries is None else pa.array(sorted(queries), pa.large_string())

    def read(unit: UnitCounts) -> pa.Table | None:
        try:
            table = read_unit(folder, run_id, unit.unit, columns)
        except RerankError as error:
            if damaged is None:
                raise
            damaged(error)
            return None
        place = table.column_names.index(schema.QUERY_ID)
        ids = _as_text(table.column(schema.QUERY_ID))
        table = table.set_column(place, schema.QUERY_ID, ids)
        return table if wanted is None else table.filter(pc.is_in(ids, value_set=wanted))

    tables = mapped(read, units, threads=_READERS)
    for unit, table in zip(units, tables, strict=True):
        if table is not None and table.num_rows:
            yield unit.unit, table


def _as_text(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    return ids.cast(kind).cast(pa.large_string())


def _lists(tables: Sequence[pa.Table]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 [N]: numbers of lists; a list's rows stand together, in one unit."""
    numbers, before = [], 0
    for table in tables:
        ids = pc.fill_null(_as_text(table.column(schema.QUERY_ID)), "").combine_chunks()
        codes = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        new = np.append(True, codes[1:] != codes[:-1])[: len(codes)]
        numbers.append(np.cumsum(new) - 1 + before)
        before += int(new.sum())
    return np.concatenate(numbers)
