"""Queries with the same or nearly the same text, among themselves and as evaluation queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.config import DistillConfig
from pipeline.distillation.evaluation_files import evaluation_queries_of
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.decontamination import EvaluationQuery
from pipeline.distillation.rules.near_duplicates import Sets, clusters, similar_pairs
from pipeline.distillation.rules.texts import normalised
from pipeline.distillation.survey import shingle_sets
from pipeline.distillation.surveys import Surveys
from pipeline.hashes import stable_hashes

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Clusters of queries with nearly the same text, and matches with evaluation queries.

    Attributes:
        cluster_of: int64 [N].
        matches: queries that meet an evaluation query, by place: a row of the match table.
    """

    cluster_of: Ints
    matches: dict[int, dict[str, Any]]

    @classmethod
    def of(cls, config: DistillConfig, surveys: Surveys, given: GivenFiles) -> Groups:
        """Compare all queries with each other and with the evaluation queries."""
        evaluation = [
            query
            for path in config.decontaminate.queries
            for query in evaluation_queries_of(given, path)
        ]
        normals: list[str | None] = [normalised(query.text) for query in evaluation]
        evaluation_keys = stable_hashes(f"text:{text}" for text in normals)
        # Every distinct text once, in the order in which it first came.
        _, first, inverse = np.unique(surveys.keys, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        text_of = rank[inverse]
        limits = config.split.near_duplicates, config.decontaminate.near_duplicates
        near: dict[int, tuple[float, int]] = {}
        roots: Ints = np.arange(len(first))
        if limits[0] is not None or (limits[1] is not None and evaluation):
            chosen = np.zeros(len(surveys.keys), dtype=bool)
            chosen[first] = True
            sets = _joined(surveys.shingles(chosen), shingle_sets(normals))
            roots = clusters(len(first), _train_pairs(sets, len(first), limits, near))
        exact = dict(zip(evaluation_keys.tolist(), range(len(evaluation)), strict=True))
        matches = {}
        for place in np.flatnonzero(np.isin(surveys.keys, evaluation_keys)).tolist():
            met = evaluation[exact[int(surveys.keys[place])]]
            matches[place] = _match(reasons.EVALUATION_QUERY, met, 1.0)
        texts = np.array(sorted(near), dtype=np.int64)
        for place in np.flatnonzero(np.isin(text_of, texts)).tolist():
            similarity, number = near[int(text_of[place])]
            if place not in matches:
                matches[place] = _match(
                    reasons.NEAR_EVALUATION_QUERY, evaluation[number], similarity
                )
        return cls(cluster_of=roots[text_of], matches=matches)


def _train_pairs(
    sets: Sets,
    train: int,
    limits: tuple[float | None, float | None],
    near: dict[int, tuple[float, int]],
) -> Iterator[tuple[Ints, Ints]]:
    """Near duplicates among the first ``train`` sets; meetings of one of them with one of the rest,
    the evaluation queries, are noted in ``near`` with the highest similarity."""
    together, apart = (2.0 if limit is None else limit - 1e-9 for limit in limits)
    lowest = min(limit for limit in limits if limit is not None)
    for left, right, similarity in similar_pairs(sets, lowest):
        ours = (right < train) & (similarity >= together)
        yield left[ours], right[ours]
        theirs = (left < train) & (right >= train) & (similarity >= apart)
        for a, b, value in zip(left[theirs], right[theirs], similarity[theirs], strict=True):
            met = (float(value), int(b) - train)
            known = near.get(int(a))
            if known is None or (-met[0], met[1]) < (-known[0], known[1]):
                near[int(a)] = met


def _joined(left: Sets, right: Sets) -> Sets:
    offsets = np.concatenate([left.offsets, left.offsets[-1] + right.offsets[1:]])
    return Sets(offsets=offsets, elements=np.concatenate([left.elements, right.elements]))


def _match(reason: str, met: EvaluationQuery, similarity: float) -> dict[str, Any]:
    return {
        schema.REASON: reason,
        "file": met.file,
        "evaluation_query_id": met.query_id,
        "evaluation_query": met.text,
        "similarity": similarity,
    }
