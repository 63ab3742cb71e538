"""What the teachers and the judgements say of one unit's candidates, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.canonical import plain_columns
from pipeline.candidates.grouping import run_starts
from pipeline.candidates.reasons import duplicated, to_text
from pipeline.candidates.unchanged import read_unchanged
from pipeline.distillation.rules.canonical import RELEVANCE
from pipeline.distillation.rules.teachers import looked_up
from pipeline.distillation.sets.folder import JUDGED
from pipeline.distillation.steps import Job
from pipeline.distillation.teacher_runs import RankedFile
from pipeline.distillation.units import DistillUnit
from pipeline.execution.runs.run_files import read_listed

Ints = npt.NDArray[np.int64]

_COLUMNS = (schema.QUERY_ID, schema.DOC_ID, schema.SCORE)

JUDGED_SCHEMA = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string(), nullable=False),
        pa.field(schema.DOC_ID, pa.string(), nullable=False),
        pa.field(RELEVANCE, pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class UnitScores:
    """The first teacher's rows in its order, with the other teachers' scores beside them.

    Attributes:
        query_ids: string [Q].
        offsets: int64 [Q + 1], the rows of each query.
        row_queries: string [N], query_ids row by row.
        doc_ids: string [N].
        scores: float64 [T, N]; NaN where a teacher gave none, or one that is not finite.
        not_finite: bool [N], some teacher gave NaN or infinity.
        unscored: for each teacher how many of the rows it left without a score.
        extra: for each teacher how many scored rows of these queries are not among the first's.
        judged: bool [N].
        relevance: int64 [N]; only where judged.
        outside: rows of the judgements that stand in no list: query_id, doc_id, relevance.
    """

    query_ids: pa.Array
    offsets: Ints
    row_queries: pa.Array
    doc_ids: pa.Array
    scores: npt.NDArray[np.float64]
    not_finite: npt.NDArray[np.bool_]
    unscored: tuple[int, ...]
    extra: tuple[int, ...]
    judged: npt.NDArray[np.bool_]
    relevance: Ints
    outside: pa.Table

    @property
    def query_of(self) -> Ints:
        """int64 [N]: the query that each row stands in."""
        return np.repeat(np.arange(len(self.query_ids)), np.diff(self.offsets))


def read_scores(job: Job, unit: DistillUnit) -> UnitScores:
    """Join the teachers' ranked rows of a unit, and the judgements of its queries.

    Raises:
        DamagedRunError: a file of a run is gone, or not the one that its manifest lists.
    """
    first, *others = unit.ranked
    rows = _Ranked.read(first)
    starts = run_starts(rows.queries)
    query_ids = rows.queries.take(pa.array(starts))
    offsets = np.append(starts, len(rows.queries)).astype(np.int64)
    query_of = np.repeat(np.arange(len(starts)), np.diff(offsets))
    # Of a document that is twice in a list, the row that was not scored ranks behind; it must not
    # find the score of the other.
    again = duplicated(query_of, rows.docs)
    scores, bad, extra = [rows.scores], [rows.bad], [0]
    for files in others:
        theirs = _Ranked.read(files)
        places = looked_up(rows.queries, rows.docs, theirs.queries, theirs.docs)
        places = np.where(again, -1, places)
        scores.append(np.append(theirs.scores, np.nan)[places])
        bad.append(np.append(theirs.bad, False)[places])
        extra.append(theirs.scored_of(query_ids) - int((~np.isnan(scores[-1])).sum()))
    judged = _judgements(job, unit)
    columns = [judged.column(name).combine_chunks() for name in judged.column_names]
    places = looked_up(rows.queries, rows.docs, columns[0], columns[1])
    outside = looked_up(columns[0], columns[1], rows.queries, rows.docs) < 0
    return UnitScores(
        query_ids=query_ids,
        offsets=offsets,
        row_queries=rows.queries,
        doc_ids=rows.docs,
        scores=np.stack(scores),
        not_finite=np.logical_or.reduce(bad),
        unscored=tuple(int(np.isnan(of_teacher).sum()) for of_teacher in scores),
        extra=tuple(extra),
        judged=places >= 0,
        relevance=np.append(columns[2].to_numpy().astype(np.int64), 0)[places],
        outside=judged.filter(pa.array(outside)),
    )


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Ranked rows of some files; ids as strings, scores NaN where there is none."""

    queries: pa.Array
    docs: pa.Array
    scores: npt.NDArray[np.float64]
    bad: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, files: tuple[RankedFile, ...]) -> _Ranked:
        tables = [read_listed(path, sha256, _COLUMNS) for path, sha256 in files]
        ids = [
            pa.concat_arrays(
                [chunk for t in tables for chunk in t[name].cast(pa.string()).chunks]
                or [pa.array([], pa.string())]
            )
            for name in (schema.QUERY_ID, schema.DOC_ID)
        ]
        values = [t[schema.SCORE].cast(pa.float64()).to_numpy() for t in tables]
        valid = [t[schema.SCORE].is_valid().to_numpy() for t in tables]
        scores = np.concatenate([np.zeros(0), *values])
        bad = np.concatenate([np.zeros(0, bool), *valid]) & ~np.isfinite(scores)
        return cls(
            queries=ids[0], docs=ids[1], scores=np.where(bad, np.nan, scores), bad=bad.astype(bool)
        )

    def scored_of(self, query_ids: pa.Array) -> int:
        """How many rows of these queries have a score."""
        ours = pc.is_in(self.queries, value_set=query_ids).to_numpy(zero_copy_only=False)
        return int((ours & ~np.isnan(self.scores)).sum())


def query_texts(job: Job, unit: DistillUnit, query_ids: pa.Array) -> list[str | None]:
    """The text of each query, None where it is null, not UTF-8, or the query is an image.

    Only the two query columns of the input are read. A query's text is that of its first row,
    which lies in the unit's range.
    """
    columns = job.source.columns.query
    names = tuple(name for name in (schema.QUERY_ID, schema.QUERY) if name in columns)
    found: dict[str | None, str | None] = {}
    if schema.QUERY in names:
        batches = read_unchanged(
            job.source, lambda source: list(source.batches(unit.start, unit.stop, only=names))
        )
        for file, _, batch in batches:
            given = dict(zip(batch.schema.names, batch.columns, strict=True))
            plain = plain_columns(file.columns, "query", given)
            ids, texts = (to_text(_as_text(plain[file.columns.query[n]]))[0] for n in names)
            for query_id, text in zip(ids.to_pylist(), texts.to_pylist(), strict=True):
                found.setdefault(query_id, text)
    return [found.get(query_id) for query_id in query_ids.to_pylist()]


def _as_text(values: pa.Array) -> pa.Array:
    return values.cast(pa.string()) if pa.types.is_integer(values.type) else values


def _judgements(job: Job, unit: DistillUnit) -> pa.Table:
    if job.config.positives.qrels is None:
        return JUDGED_SCHEMA.empty_table()
    return job.set_folder.read_table(job.set_folder.step(JUDGED, unit.place))
