"""Nights of small candidate lists, and what a naive reading says becomes of their documents."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.candidates.reuse import ReuseTable
from pipeline.config import JobConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import MANIFEST, RunFolder
from pipeline.hashes import stable_hashes
from pipeline.refresh.reuse.making import Reuse
from pipeline.refresh.reuse.previous import Previous
from pipeline.refresh.reuse.work import Sizes
from tests.execution.drivers import families_of_tests, lexical_job
from tests.makers import write

FIRST = datetime.date(2026, 3, 1)

#: Some pieces a part, some parts a table, however small the input.
SMALL = Sizes(piece=4, part=10, here=0)

LISTED = "tests.execution.families.listed"


@dataclass(frozen=True)
class Query:
    """A candidate list: a number for its id, a version of its text, and ``(id, text)`` pairs."""

    number: int
    version: int = 0
    documents: tuple[tuple[int, str | None], ...] = ()

    @property
    def text(self) -> str:
        return f"light number {self.number} version {self.version}"


Night = tuple[Query, ...]


def table_of(night: Night, *, text_ids: bool = True, nested: bool = False) -> pa.Table:
    """The lists as an input; those without documents are in the nested layout alone."""
    kind = pa.string() if text_ids else pa.int64()
    as_id = str if text_ids else int
    columns = [("query_id", kind), ("query", pa.string()), ("doc_id", kind), ("text", pa.string())]
    rows = [
        {"query_id": as_id(one.number), "query": one.text, "doc_id": as_id(doc_id), "text": text}
        for one in night
        for doc_id, text in one.documents
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(columns))
    if not nested:
        return table
    item = pa.struct([("doc_id", kind), ("text", pa.string())])
    lists = [
        {
            "query_id": as_id(one.number),
            "query": one.text,
            "candidates": [{"doc_id": as_id(d), "text": text} for d, text in one.documents],
        }
        for one in night
    ]
    return pa.Table.from_pylist(
        lists, schema=pa.schema([*columns[:2], ("candidates", pa.list_(item))])
    )


def job(path: Path, output: Path, *, family: str | None = None, **sections: Any) -> JobConfig:
    """A run in process, of which anything may be quarantined."""
    model = {"name": "lexical"} if family is None else {"family": family}
    quarantine = {"max_error_rate": 1.0, "max_unit_error_rate": 1.0}
    given = lexical_job(path, str(output), model=model, units={"documents": 7})
    return JobConfig.model_validate(given | {"quarantine": quarantine} | sections)


def prepared(
    config: JobConfig,
    date: datetime.date,
    previous: Previous | None,
    *,
    max_age_days: int | None = None,
    sizes: Sizes = SMALL,
) -> Prepared:
    """The job of a night, with its reuse table."""
    with ExitStack() as staying:
        reuse = Reuse(
            config=config, previous=previous, date=date, max_age_days=max_age_days,
            staying=staying, sizes=sizes,
        )  # fmt: skip
        return prepare(config, reuse=reuse, allow_code=families_of_tests(config))


def table_of_night(*arguments: Any, **options: Any) -> ReuseTable:
    """The table of :func:`prepared`."""
    found = prepared(*arguments, **options).reuse
    assert found is not None
    return found


def published(outcome: Outcome, sequence: int = 1) -> Previous:
    """A run as the publication that the next night begins with."""
    folder = RunFolder(outcome.folder)
    data = Path(folder.file(MANIFEST)).read_bytes()
    return Previous(
        folder=folder, manifest_sha256=hashlib.sha256(data).hexdigest(), sequence=sequence
    )


def ran(found: Prepared) -> Outcome:
    return execute(found)


@dataclass
class Naive:
    """What is known after some nights: of each query its version, documents, and when scored."""

    pointwise: bool
    max_age_days: int | None
    queries: dict[int, Query] = field(default_factory=dict)
    scored_at: dict[tuple[int, int], datetime.date] = field(default_factory=dict)

    def night(self, night: Night, date: datetime.date) -> dict[str, Counter[str]]:
        """Go through a night; returns the counts of its documents and lists."""
        documents, lists = Counter[str](), Counter[str]()
        scored_at: dict[tuple[int, int], datetime.date] = {}
        for one in night:
            before = self.queries.get(one.number)
            known, old = self._known(one, date)
            states = []
            for place, doc_id, text in scorable(one):
                content = self._content(one, place, text)
                state = "reuse" if content in known else "new"
                if state == "new" and before is not None and doc_id in dict(before.documents):
                    state = "rescore"
                states.append(state)
                documents["expired"] += content in old
                scored_at[one.number, doc_id] = known.get(content, date)
            documents.update(states)
            documents["unscorable"] += len(one.documents) - len(states)
            if not states:
                lists["unscorable"] += 1
            elif set(states) == {"reuse"}:
                lists["reuse"] += 1
            else:
                asked = before is not None and before.documents
                lists["rescore" if asked else "new"] += 1
        today = {one.number: dict(one.documents) for one in night}
        for number, before in self.queries.items():
            gone = [doc_id for doc_id, _ in before.documents if doc_id not in today.get(number, {})]
            documents["gone"] += len(gone)
            lists["gone"] += bool(before.documents) and number not in today
        self.queries = {one.number: one for one in night}
        self.scored_at = scored_at
        return {"documents": documents, "lists": lists}

    def _known(self, one: Query, date: datetime.date) -> tuple[dict[Any, datetime.date], set[Any]]:
        """Contents with a score that holds, and when it was given; and those that are too old."""
        before = self.queries.get(one.number)
        known: dict[Any, datetime.date] = {}
        old = set()
        for place, doc_id, text in () if before is None else scorable(before):
            content, given = self._content(before, place, text), self.scored_at[one.number, doc_id]
            if self._due(one.number, given, date):
                old.add(content)
            else:
                known[content] = max(given, known.get(content, given))
        return known, old - known.keys()

    def _due(self, number: int, given: datetime.date, date: datetime.date) -> bool:
        shift = int(stable_hashes([str(number)])[0])
        days = range(given.toordinal() + 1, date.toordinal() + 1)
        return self.max_age_days is not None and any(
            (day + shift) % self.max_age_days == 0 for day in days
        )

    def _content(self, one: Query, place: int, text: str) -> Any:
        if self.pointwise:
            return one.text, text
        return one.text, tuple(text for _, _, text in scorable(one)), place


def scorable(one: Query) -> list[tuple[int, int, str]]:
    """Place among them, id and text of the documents that can be scored: each id once."""
    found: list[tuple[int, int, str]] = []
    seen = set()
    for doc_id, text in one.documents:
        if text is not None and doc_id not in seen:
            found.append((len(found), doc_id, text))
        seen.add(doc_id)
    return found


def put(folder: Path, night: Night, **options: bool) -> Path:
    """A night's input in small row groups."""
    return write(folder / "in.parquet", table_of(night, **options), row_group_size=3)
