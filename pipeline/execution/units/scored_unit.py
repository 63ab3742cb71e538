"""What is known of a unit's documents once the model is through: scores, reasons, dates, costs."""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.engine.scoring import Scoreable
from pipeline.execution.units import rows
from pipeline.rerankers.base import Reranker
from pipeline.sequences.lengths import LengthHistogram
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import distinct_array


def with_scores(
    lists: CandidateLists,
    scoreable: Scoreable,
    found: npt.NDArray[np.float32],
    codes: npt.NDArray[np.object_],
) -> tuple[CandidateLists, npt.NDArray[np.float32]]:
    """All documents with their scores, and the model's reasons beside the input's.

    Args:
        lists: every document of a unit [N].
        scoreable: what of them the model scored [M].
        found: float32 [M], its scores.
        codes: object [M], its reasons, None where it gave a score.

    Returns:
        The lists, and float32 [N] scores, those of an earlier run among them; NaN exactly where a
        reason stands.
    """
    kept = scoreable.documents
    scores = np.where(reused_in(lists), lists.reused_scores, np.float32(np.nan))
    scores[kept] = found
    reason = np.array(lists.documents.column(schema.REASON).to_pylist(), dtype=object)
    reason[kept] = codes
    index = lists.documents.column_names.index(schema.REASON)
    column = pa.array(reason, pa.string())
    documents = lists.documents.set_column(index, schema.REASON, column)
    return replace(lists, documents=documents), scores


def reused_in(lists: CandidateLists) -> npt.NDArray[np.bool_]:
    """bool [N]: the documents whose score is known, and against which no reason stands."""
    fine = lists.documents.column(schema.REASON).is_null().to_numpy()
    return np.asarray(fine & ~np.isnan(lists.reused_scores), dtype=bool)


def special_tokens_in(
    lists: CandidateLists, scoreable: Scoreable, reranker: Reranker
) -> dict[str, int]:
    """Documents and queries that hold special tokens, where those act as such; else nothing.

    Args:
        lists: every document of a unit.
        scoreable: what of them went through the model.
        reranker: the model; one that takes special tokens for text finds none.
    """
    finder = reranker.marked_texts
    if finder is None or not len(scoreable.documents):
        return {}
    read = np.unique(lists.query_of_document[scoreable.documents])
    texts, which = distinct_array(scoreable.lists.documents.column(schema.TEXT))
    queries, asked = distinct_array(lists.queries.column(schema.QUERY).take(pa.array(read)))
    found = {
        "documents": int(finder.find(texts)[which[scoreable.pairs]].sum()),
        "queries": int(finder.find(queries)[asked].sum()),
    }
    return found if any(found.values()) else {}


def lengths_in(scoreable: Scoreable, sequences: Sequences | None) -> rows.Statistics:
    """Sequences of a unit by length, and its documents that were cut where the family says so.

    Args:
        scoreable: what was encoded.
        sequences: what it was encoded to; None: nothing was.
    """
    if sequences is None:
        return {}
    noted: rows.Statistics = {
        rows.LENGTHS: dict[str, float](LengthHistogram.of(sequences.lengths).as_dict())
    }
    if schema.TRUNCATED in sequences.links:
        cut = sequences.links[schema.TRUNCATED][scoreable.pairs]
        noted[rows.TRUNCATION] = {"documents": len(cut), "truncated": int((cut != 0).sum())}
    return noted


def with_dates(
    scored: CandidateLists, scores: npt.NDArray[np.float32], today: datetime.date
) -> CandidateLists:
    """The documents with the day on which their score was given; null where there is none.

    Args:
        scored: every document of the unit, ``scored_at`` set where a score is an earlier run's.
        scores: float32 [N].
        today: when the others were given.
    """
    documents = scored.documents
    before = documents.column(schema.SCORED_AT).combine_chunks()
    given = pc.fill_null(before, pa.scalar(today, pa.date32()))
    dates = pc.if_else(pa.array(np.isnan(scores)), None, given)
    index = documents.column_names.index(schema.SCORED_AT)
    return replace(scored, documents=documents.set_column(index, schema.SCORED_AT, dates))


def with_token_counts(
    scored: CandidateLists, scoreable: Scoreable, sequences: Sequences | None
) -> CandidateLists:
    """The documents with n_tokens and truncated beside them.

    Args:
        scored: every document of the unit.
        scoreable: what of them was encoded; the others get nulls, and all do where the family does
            not count.
        sequences: what they were encoded to; None: nothing was.
    """
    documents = scored.documents
    for name, kind in zip(schema.TOKEN_COLUMNS, (pa.int64(), pa.bool_()), strict=True):
        values = np.zeros(documents.num_rows, dtype=np.int64)
        unknown = np.ones(documents.num_rows, dtype=bool)
        if sequences is not None and name in sequences.links:
            values[scoreable.documents] = sequences.links[name][scoreable.pairs]
            unknown[scoreable.documents] = False
        documents = documents.append_column(name, pa.array(values, mask=unknown).cast(kind))
    return replace(scored, documents=documents)
