"""Index arrays that say which documents stand in which row of an export."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.distillation.formats.support.examples import (
    Examples,
    Group,
    Ints,
)
from pipeline.distillation.rules import left_out as codes


def pairs(examples: Examples) -> tuple[Ints, Ints, Ints]:
    """Every document beside its query.

    Returns:
        int64 [R] each: the query, the document (a query's positives, then its negatives), and 1
        where the document is a positive, else 0.
    """
    queries, documents, labels = [], [], []
    for group in examples.groups:
        listed = np.concatenate([group.positives, group.negatives])
        queries.append(np.full(len(listed), group.query))
        documents.append(listed)
        labels.append((np.arange(len(listed)) < len(group.positives)).astype(np.int64))
    return _joined(queries), _joined(documents), _joined(labels)


def triplets(examples: Examples, left_out: Counter[str]) -> tuple[Ints, Ints, Ints]:
    """Every positive with every negative of its query.

    Returns:
        int64 [R] each: the query, the positive, the negative.
    """
    queries, positives, negatives = [], [], []
    for group in examples.groups:
        if not len(group.negatives):
            left_out[codes.TOO_FEW_NEGATIVES] += 1
            continue
        count = len(group.positives) * len(group.negatives)
        queries.append(np.full(count, group.query))
        positives.append(np.repeat(group.positives, len(group.negatives)))
        negatives.append(np.tile(group.negatives, len(group.positives)))
    return _joined(queries), _joined(positives), _joined(negatives)


def tuples(examples: Examples, number: int, left_out: Counter[str]) -> tuple[Ints, Ints]:
    """Every positive with the best ``number`` negatives of its query.

    Returns:
        int64 [R], the query; int64 [R, 1 + number], the positive and the negatives.
    """
    queries: list[int] = []
    rows: list[Ints] = []
    for group in examples.groups:
        if len(group.negatives) < number:
            left_out[codes.TOO_FEW_NEGATIVES] += 1
            continue
        left_out[codes.SURPLUS] += len(group.negatives) - number
        for positive in group.positives.tolist():
            queries.append(group.query)
            rows.append(np.concatenate([[positive], group.negatives[:number]]))
    return np.array(queries, dtype=np.int64), _matrix(rows, 1 + number)


def best_first(examples: Examples, number: int, left_out: Counter[str]) -> tuple[Ints, Ints]:
    """One row per query: its best positive, then the ``number`` best of all its other documents.

    Returns:
        int64 [R], the query; int64 [R, 1 + number], its documents.
    """
    queries: list[int] = []
    rows: list[Ints] = []
    for group in examples.groups:
        others = rest_best_first(examples, group)
        if len(others) < number:
            left_out[codes.TOO_FEW_DOCUMENTS] += 1
            continue
        left_out[codes.SURPLUS] += len(others) - number
        queries.append(group.query)
        rows.append(np.concatenate([group.positives[:1], others[:number]]))
    return np.array(queries, dtype=np.int64), _matrix(rows, 1 + number)


def rest_best_first(examples: Examples, group: Group) -> Ints:
    """All documents of a query but its best positive, by score descending.

    What ties keeps the set's order, positives before negatives.
    """
    others = np.concatenate([group.positives[1:], group.negatives])
    return others[np.argsort(-examples.scores[others], kind="stable")]


def _joined(arrays: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)


def _matrix(rows: list[Ints], width: int) -> Ints:
    return np.stack(rows) if rows else np.zeros((0, width), dtype=np.int64)
