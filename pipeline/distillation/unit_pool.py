"""One unit, ready to be mined: its documents with texts, combined scores and reasons so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged
from pipeline.distillation.decisions import SPLIT
from pipeline.distillation.judgements import evaluation_documents
from pipeline.distillation.rules import canonical, reasons
from pipeline.distillation.rules.candidates import Candidates
from pipeline.distillation.rules.rows import Pool
from pipeline.distillation.rules.teachers import Scale, combine, looked_up
from pipeline.distillation.sets.folder import DECISIONS
from pipeline.distillation.steps import Job
from pipeline.distillation.survey import OUTSIDE
from pipeline.distillation.unit_contents import contents_of, queries_of
from pipeline.distillation.unit_scores import UnitScores, read_scores
from pipeline.distillation.units import DistillUnit
from pipeline.hashes import Hashes, stable_hashes

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class UnitPool:
    """A unit before mining.

    Attributes:
        queries: query_id, query and query_image of its queries.
        query_keys: uint64 [Q], hash of each id.
        splits: train, dev, or None where the query is left out.
        failures: why a query is left out, None where it is not.
        pool: its documents: every row of the lists, then judged positives that stand in none.
        query_of: int64 [N], the query of each document.
        keys: uint64 [N], hash of each doc_id.
        usable: for each query the places that can be mined, best first.
        reasons: for each document why it cannot be used at all, None where it can.
    """

    queries: pa.Table
    query_keys: Hashes
    splits: Sequence[str | None]
    failures: Sequence[str | None]
    pool: Pool
    query_of: Ints
    keys: Hashes
    usable: Sequence[Ints]
    reasons: list[str | None]

    def candidates(self, query: int) -> Candidates:
        """The candidates of one query."""
        places, pool = self.usable[query], self.pool
        taken = pa.array(places)
        images = zip(
            pool.image_bytes.take(taken).to_pylist(),
            pool.image_uris.take(taken).to_pylist(),
            strict=True,
        )
        return Candidates(
            scores=pool.scores[places].astype(np.float64),
            relevance=pool.relevance[places],
            judged=pool.judged[places],
            texts=pool.texts.take(taken).to_pylist(),
            images=[place if data is None else data for data, place in images],
            keys=self.keys[places],
            query=int(self.query_keys[query]),
        )


def read_pool(job: Job, unit: DistillUnit, scales: Sequence[Scale]) -> UnitPool:
    """Read a unit's scores, texts and decisions, and combine the scores."""
    unit_scores = read_scores(job, unit)
    lists = read_unchanged(
        job.source,
        lambda source: read_lists(source, unit.start, unit.stop, separator=job.separator),
    )
    decisions = job.set_folder.read_table(job.set_folder.step(DECISIONS, unit.place))
    combination = job.config.combination
    scores = combine(
        unit_scores.scores,
        unit_scores.offsets,
        scales=scales,
        weights=[teacher.weight for teacher in job.config.teachers],
        method=combination.method,
        coverage=combination.coverage,
        rank_constant=combination.rank_constant,
    )
    not_finite = unit_scores.not_finite | np.isinf(scores)
    scores = np.where(not_finite, np.float32(np.nan), scores)
    queries = queries_of(unit_scores, lists)
    texts, data, uris = contents_of(unit_scores, lists)
    more = _outside(decisions)
    pool = Pool(
        doc_ids=pa.concat_arrays([unit_scores.doc_ids, more.doc_ids]),
        texts=pa.concat_arrays([texts, more.texts]),
        image_bytes=pa.concat_arrays([data, pa.nulls(len(more.doc_ids), pa.binary())]),
        image_uris=pa.concat_arrays([uris, pa.nulls(len(more.doc_ids), pa.string())]),
        scores=np.append(scores, np.full(len(more.doc_ids), np.nan, np.float32)),
        ranks=np.append(
            _ranks(scores, unit_scores.query_of), np.zeros(len(more.doc_ids), np.int32)
        ),
        relevance=np.append(unit_scores.relevance, _relevance(unit_scores, queries, more)),
        judged=np.append(unit_scores.judged, np.ones(len(more.doc_ids), dtype=bool)),
    )
    query_of = np.append(unit_scores.query_of, more.query_of)
    keys = stable_hashes("" if doc_id is None else doc_id for doc_id in pool.doc_ids.to_pylist())
    why = _reasons(job, unit_scores, pool, not_finite, keys)
    return UnitPool(
        queries=queries,
        query_keys=stable_hashes(
            "" if query_id is None else query_id
            for query_id in queries[schema.QUERY_ID].to_pylist()
        ),
        splits=decisions[SPLIT].to_pylist(),
        failures=_failures(queries, decisions),
        pool=pool,
        query_of=query_of,
        keys=keys,
        usable=_usable(pool, query_of, why, queries.num_rows),
        reasons=why,
    )


@dataclass(frozen=True, kw_only=True)
class _Outside:
    """Judged positives that stand in no list, and the query of each."""

    doc_ids: pa.Array
    texts: pa.Array
    query_of: Ints


def _outside(decisions: pa.Table) -> _Outside:
    column = decisions[OUTSIDE].combine_chunks()
    counts = np.diff(np.asarray(column.offsets)).astype(np.int64)
    doc_ids, texts = column.flatten().flatten()
    return _Outside(
        doc_ids=doc_ids, texts=texts, query_of=np.repeat(np.arange(len(counts)), counts)
    )


def _relevance(unit_scores: UnitScores, queries: pa.Table, more: _Outside) -> Ints:
    ids = queries[schema.QUERY_ID].combine_chunks().take(pa.array(more.query_of))
    judged = [
        unit_scores.outside[name].combine_chunks() for name in (schema.QUERY_ID, schema.DOC_ID)
    ]
    places = looked_up(ids, more.doc_ids, *judged)
    relevance = unit_scores.outside[canonical.RELEVANCE].to_numpy().astype(np.int64)
    return np.asarray(relevance[places], dtype=np.int64)


def _ranks(scores: npt.NDArray[np.float32], query_of: Ints) -> npt.NDArray[np.int32]:
    """int32 [N]: place within the list by score, equal scores by the first teacher's rank; 0 where
    there is no score."""
    order = np.lexsort((np.arange(len(scores)), -np.nan_to_num(scores, nan=-np.inf), query_of))
    starts = np.searchsorted(query_of, query_of[order])
    ranks = np.empty(len(scores), dtype=np.int32)
    ranks[order] = np.arange(len(scores)) - starts + 1
    return np.where(np.isnan(scores), np.int32(0), ranks)


def _reasons(
    job: Job, unit_scores: UnitScores, pool: Pool, not_finite: npt.NDArray[np.bool_], keys: Hashes
) -> list[str | None]:
    """Why a document cannot be used at all; the first that holds."""
    count = len(unit_scores.doc_ids)
    listed = np.arange(len(pool)) < count
    unscored = np.append(
        np.isnan(unit_scores.scores).all(axis=0), np.zeros(len(pool) - count, bool)
    )
    empty = np.logical_and.reduce(
        [
            column.is_null().to_numpy(zero_copy_only=False)
            for column in (pool.texts, pool.image_bytes, pool.image_uris)
        ]
    )
    checks = [
        (reasons.NOT_FINITE, np.append(not_finite, np.zeros(len(pool) - count, bool))),
        (reasons.NO_SCORE, unscored),
        (reasons.MISSING_TEACHER, listed & np.isnan(pool.scores)),
        (reasons.NO_CONTENT, empty),
        (
            reasons.EVALUATION_DOCUMENT,
            np.isin(keys, evaluation_documents(job.config, job.set_folder)),
        ),
    ]
    why = np.full(len(pool), None, dtype=object)
    for code, holds in reversed(checks):
        why[holds] = code
    return list(why)


def _failures(queries: pa.Table, decisions: pa.Table) -> list[str | None]:
    ids, texts, images = (queries[name] for name in queries.column_names)
    nothing = ids.is_null().to_numpy() | (texts.is_null().to_numpy() & images.is_null().to_numpy())
    given = decisions[schema.REASON].to_pylist()
    return [
        reasons.NO_QUERY if missing else code for missing, code in zip(nothing, given, strict=True)
    ]


def _usable(pool: Pool, query_of: Ints, why: list[str | None], queries: int) -> list[Ints]:
    kept = np.array([code is None for code in why], dtype=bool)
    # Ranks start at 1; what has none stands in no list and comes last, in the order of its rows.
    last = np.where(pool.ranks == 0, np.iinfo(np.int32).max, pool.ranks)
    order = np.lexsort((np.arange(len(pool)), last, query_of))
    order = order[kept[order]]
    edges = np.searchsorted(query_of[order], np.arange(queries + 1))
    return [order[start:stop] for start, stop in pairwise(edges.tolist())]
