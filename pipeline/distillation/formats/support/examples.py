"""One part of the canonical set, flat, and what of it a format can use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.distillation.rules import canonical
from pipeline.distillation.rules import left_out as codes
from pipeline.errors import InputContractError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Content = Literal["text", "image"]


@dataclass(frozen=True)
class Group:
    """A query (a row of ``Examples.queries``) and its usable documents, best first."""

    query: int
    positives: Ints
    negatives: Ints


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The queries and documents of one part.

    Attributes:
        queries: [Q] query_id, query, query_image.
        documents: [N] the fields of :data:`pipeline.distillation.rules.canonical.ITEM`.
        scores: float32 [N], NaN where there is none.
        groups: the queries that can be used.
        left_out: what is not in ``groups``, by reason.
    """

    queries: pa.Table
    documents: pa.Table
    scores: Floats
    groups: list[Group]
    left_out: Counter[str] = field(default_factory=Counter)

    def column(self, name: str, rows: Ints) -> pa.Array:
        """A column of the documents at ``rows``."""
        return self.documents.column(name).combine_chunks().take(pa.array(rows))

    def query_column(self, name: str, rows: Ints) -> pa.Array:
        """A column of the queries at ``rows``."""
        return self.queries.column(name).combine_chunks().take(pa.array(rows))


def read_examples(rows: pa.Table, *, content: Content = "text", scored: bool = True) -> Examples:
    """What a format can use of a part; the rest is counted.

    Args:
        rows: [Q] of :data:`pipeline.distillation.rules.canonical.SCHEMA`.
        content: what a document is to the student: its text, or its image.
        scored: leave out positives without a score.

    Raises:
        InputContractError: a score is NaN or infinite; names query and document.
    """
    queries = rows.select([schema.QUERY_ID, schema.QUERY, schema.QUERY_IMAGE])
    ends, parts, first = [], [], 0
    for name in (canonical.POSITIVES, canonical.NEGATIVES):
        lists = rows.column(name).combine_chunks()
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        ends.append(first + np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        parts.append(pa.Table.from_struct_array(lists.flatten()))
        first += parts[-1].num_rows
    documents = pa.concat_tables(parts)
    scores = documents.column(schema.SCORE).to_numpy()
    if scores.dtype != np.float32:  # all null comes as objects or doubles
        scores = scores.astype(np.float32)
    _refuse_not_finite(documents, scores, queries, ends)
    left_out: Counter[str] = Counter()
    usable = _usable(documents, content, left_out)
    usable = usable & _with_score(scores, ends[0][-1], usable, left_out, scored)
    groups = _groups(queries, ends, usable, left_out)
    return Examples(
        queries=queries, documents=documents, scores=scores, groups=groups, left_out=left_out
    )


def _usable(documents: pa.Table, content: Content, counts: Counter[str]) -> npt.NDArray[np.bool_]:
    has_text = documents.column(schema.TEXT).is_valid().to_numpy()
    has_image = pc.or_(
        documents.column(schema.IMAGE).is_valid(), documents.column(canonical.IMAGE_URI).is_valid()
    ).to_numpy()
    if content == "image":
        counts[codes.NO_IMAGE] += int((~has_image).sum())
        return np.asarray(has_image)
    counts[codes.NO_TEXT] += int((~has_text).sum())
    counts[codes.IMAGE_NOT_CARRIED] += int((has_text & has_image).sum())
    return np.asarray(has_text)


def _with_score(
    scores: Floats,
    positives: int,
    usable: npt.NDArray[np.bool_],
    counts: Counter[str],
    scored: bool,
) -> npt.NDArray[np.bool_]:
    if not scored:
        return np.ones(len(scores), dtype=bool)
    known = ~np.isnan(scores)
    counts[codes.NO_SCORE] += int((usable & ~known)[:positives].sum())
    return known


def _groups(
    queries: pa.Table, ends: list[Ints], usable: npt.NDArray[np.bool_], counts: Counter[str]
) -> list[Group]:
    has_text = queries.column(schema.QUERY).is_valid().to_numpy()
    has_image = queries.column(schema.QUERY_IMAGE).is_valid().to_numpy()
    counts[codes.NO_QUERY_TEXT] += int((~has_text).sum())
    counts[codes.QUERY_IMAGE_NOT_CARRIED] += int((has_text & has_image).sum())
    groups = []
    for query in np.flatnonzero(has_text).tolist():
        positives, negatives = (
            np.arange(bounds[query], bounds[query + 1])[usable[bounds[query] : bounds[query + 1]]]
            for bounds in ends
        )
        if len(positives):
            groups.append(Group(query, positives, negatives))
        else:
            counts[codes.NO_POSITIVE] += 1
    return groups


def _refuse_not_finite(
    documents: pa.Table, scores: Floats, queries: pa.Table, ends: list[Ints]
) -> None:
    valid = documents.column(schema.SCORE).is_valid().to_numpy()
    wrong = np.flatnonzero(valid & ~np.isfinite(scores))
    if len(wrong) == 0:
        return
    place = int(wrong[0])
    bounds = ends[0] if place < ends[0][-1] else ends[1]
    query = int(np.searchsorted(bounds, place, side="right")) - 1
    ids: list[Any] = [
        queries.column(schema.QUERY_ID)[query].as_py(),
        documents.column(schema.DOC_ID)[place].as_py(),
    ]
    raise InputContractError(
        f"query '{ids[0]}', document '{ids[1]}': the score is {scores[place]}; a canonical "
        "training set holds finite scores or none. Make the set again with rerank distill"
    )
