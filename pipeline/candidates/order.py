"""Whether the rows of a query stand together, found out before anything is read but its ids.

Footers settle it where every row group holds one query (its smallest id is its largest), and where
an id that some row group is known to hold cannot be in one between it and another that holds it.
That the ranges of row groups do not overlap settles nothing, for rows inside of one may still be in
any order; so the ids are read, alone, all of them or those of row groups from all over the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Final, Literal, TypeVar

from pipeline.candidates.id_runs import PIECE_ROWS, RunCheck, Runs, runs_of
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.unchanged import read_unchanged
from pipeline.storage.parquet.ranges import ValueRange

#: Stored bytes of query ids up to which all of them are read; else a sample of so many.
_WHOLE_BYTES: Final = 256 * 2**20

_THREADS: Final = 8

Kind = Literal["sorted", "grouped", "scattered"]
Checked = Literal["footers", "all", "sample"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A row of a file.

    Attributes:
        path: the file.
        row: its number in it, from 0.
    """

    path: str
    row: int

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A query whose rows do not stand together.

    Attributes:
        query_id: its id.
        first: where it stands first.
        second: where it begins again.
    """

    query_id: int | str
    first: Place
    second: Place


@dataclass(frozen=True, kw_only=True)
class Order:
    """How the rows of an input stand.

    Attributes:
        kind: ``sorted``: query ids ascend (text by code points); ``grouped``: rows of a query stand
            together; ``scattered``: those of at least one do not. In the nested layout, which has a
            row per query, an id that stands twice is scattered. Null ids count for nothing, but
            they part what they stand between.
        checked: by ``footers`` alone, by ``all`` ids, or by a ``sample`` of them, in which case
            sorted and grouped are likely and scattered is certain.
        example: of a scattered input.
        queries: distinct ids that are not null, where all were read; None otherwise.
    """

    kind: Kind
    checked: Checked
    example: Example | None = None
    queries: int | None = None


@dataclass(frozen=True)
class _Group:
    """A row group: its global rows, and what its footer says of its ids."""

    start: int
    stop: int
    ids: ValueRange | None

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def ends(self) -> tuple[int | str, ...]:
        """The ids that it is known to hold."""
        if self.ids is None or self.ids.low is None or self.ids.high is None:
            return ()
        return (self.ids.low,) if self.ids.low == self.ids.high else (self.ids.low, self.ids.high)

    @property
    def constant(self) -> bool:
        """Whether every row is known to have the same id, or none."""
        if self.ids is None or self.ids.nulls is None:
            return False
        return self.ids.nulls == self.rows or (self.ids.nulls == 0 and len(self.ends) == 1)


def order_of(source: Input, *, whole_bytes: int = _WHOLE_BYTES) -> Order:
    """How the rows of an input stand: sorted, grouped or scattered.

    Args:
        source: the opened input.
        whole_bytes: stored bytes of query ids up to which all of them are read.

    Raises:
        InputContractError: a file cannot be read or changes meanwhile, or an id does not fit the
            type that ids have.
    """
    groups = list(_groups(source))
    nested = bool(source.files) and source.columns.layout == "nested"
    # Where nothing is wrong with it, a group of one row is as good as a group of one query.
    if all(group.constant and (not nested or group.rows == 1) for group in groups):
        return _of_constants(source, groups, nested=nested)
    suspects = next(_contradictions(groups, nested=nested), None)
    if suspects is not None:
        found = _of_ids(source, suspects, nested=nested, checked="footers")
        if found.kind == "scattered":
            return found
        # The statistics are wrong, so nothing more is taken from them.
    stored = sum(0 if group.ids is None else group.ids.stored for group in groups)
    if stored <= whole_bytes:
        return _of_ids(source, groups, nested=nested, checked="all")
    return _of_ids(
        source, _spread(groups, -(-stored // whole_bytes)), nested=nested, checked="sample"
    )


def runs_in_order(source: Input) -> Iterator[Runs]:
    """The runs of query ids of a whole input; one that goes on in the next piece stands again.

    Raises:
        InputContractError: see :func:`order_of`.
    """
    nested = bool(source.files) and source.columns.layout == "nested"
    yield from _all_runs(source, list(_groups(source)), nested=nested)


def _groups(source: Input) -> Iterator[_Group]:
    """Row groups with rows, in order."""
    for file in source.files:
        start = file.first
        known: Sequence[ValueRange | None] = file.ids or [None] * len(file.row_groups)
        for rows, ids in zip(file.row_groups, known, strict=True):
            if rows:
                yield _Group(start, start + rows, ids)
            start += rows


def _of_constants(source: Input, groups: Sequence[_Group], *, nested: bool) -> Order:
    """The order of row groups of one query each."""
    first: dict[int | str, _Group] = {}
    last: int | str | None = None
    ascending = True
    for group in groups:
        value = group.ends[0] if group.ends else None
        if value is not None and (nested or value != last):
            if value in first:
                places = (_place(source, found.start) for found in (first[value], group))
                example = Example(query_id=value, first=next(places), second=next(places))
                return Order(kind="scattered", checked="footers", example=example)
            ascending = ascending and not (first and value <= next(reversed(first)))  # type: ignore[operator]
            first[value] = group
        last = value
    kind: Kind = "sorted" if ascending else "grouped"
    return Order(kind=kind, checked="footers", queries=len(first))


def _contradictions(groups: Sequence[_Group], *, nested: bool) -> Iterator[list[_Group]]:
    """Row groups in which, if their statistics are right, a query's rows are apart."""
    last: dict[int | str, int] = {}
    known = -1  # the last group whose range is known
    for place, group in enumerate(groups):
        shared = [value for value in group.ends if value in last]
        for value in shared:
            before = last[value]
            # A group between whose ends are others would have to be of this query alone.
            if nested or known > before:
                between = [] if nested else [groups[known]]
                yield [groups[before], *between, group]
        # Only one of two ids can be the last of one group and the first of the next.
        if len(shared) == 2 and {last[value] for value in shared} == {place - 1}:
            yield [groups[place - 1], group]
        if nested and group.constant and group.ends and group.rows > 1:
            yield [group]
        for value in group.ends:
            last[value] = place
        known = place if group.ends else known


def _spread(groups: Sequence[_Group], step: int) -> list[_Group]:
    """Every so manieth row group, and the last one."""
    return [*groups[:-1:step], groups[-1]]


def _of_ids(source: Input, groups: Sequence[_Group], *, nested: bool, checked: Checked) -> Order:
    """The order of some row groups as if they stood next to each other, by their ids.

    Where others are between them, a query may go on through those: it is then the last of one and
    the first of the next, and counts as one. Whatever else stands apart, does so in the input too.
    """

    def read(opened: Input) -> Order:
        check = RunCheck(nested=nested)
        for runs in _all_runs(opened, groups, nested=nested):
            for query_id, start in check.add(runs):
                before = _first_row(opened, groups, query_id, start)
                if before is not None:
                    places = {"first": _place(opened, before), "second": _place(opened, start)}
                    example = Example(query_id=query_id, **places)
                    return Order(kind="scattered", checked=checked, example=example)
        kind: Kind = "sorted" if check.ascending else "grouped"
        return Order(
            kind=kind, checked=checked, queries=check.queries if checked == "all" else None
        )

    return read_unchanged(source, read)


def _all_runs(source: Input, groups: Sequence[_Group], *, nested: bool) -> Iterator[Runs]:
    """The runs of row groups in order; small ones are read side by side."""

    def is_large(rows: tuple[int, int]) -> bool:
        return rows[1] - rows[0] > 2 * PIECE_ROWS

    def read(rows: tuple[int, int]) -> list[Runs]:
        return list(runs_of(source, *rows, nested=nested))

    for large, tasks in groupby(_tasks(groups), is_large):
        if large:
            for rows in tasks:
                yield from runs_of(source, *rows, nested=nested)
        else:
            yield from chain.from_iterable(_in_order(tasks, read))


def _tasks(groups: Sequence[_Group]) -> Iterator[tuple[int, int]]:
    """Global row ranges in order: neighbours joined where they are small."""
    current: tuple[int, int] | None = None
    for group in groups:
        if current is not None:
            if current[1] == group.start and group.stop - current[0] <= PIECE_ROWS:
                current = (current[0], group.stop)
                continue
            yield current
        current = (group.start, group.stop)
    if current is not None:
        yield current


def _first_row(
    source: Input, groups: Sequence[_Group], query_id: int | str, stop: int
) -> int | None:
    """The first row before ``stop`` that has an id; None where its hash alone was the same."""
    before = [group for group in groups if group.start < stop]
    for runs in _all_runs(source, before, nested=False):
        row = runs.place_of(query_id)
        if row is not None:
            return row if row < stop else None
    return None


def _place(source: Input, row: int) -> Place:
    file: InputFile
    [(file, local, _)] = source.pieces(row, row + 1)
    return Place(path=file.identity.path, row=local)


def _in_order(
    tasks: Iterable[tuple[int, int]], work: Callable[[tuple[int, int]], T]
) -> Iterator[T]:
    """Results in the order of the tasks, a few of them ahead of the one that is asked for."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: list[Future[T]] = []
        left = iter(tasks)
        try:
            while True:
                ahead += [pool.submit(work, task) for task in islice(left, _THREADS - len(ahead))]
                if not ahead:
                    return
                yield ahead.pop(0).result()
        finally:
            for future in ahead:
                future.cancel()
