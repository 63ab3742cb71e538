"""The dev split as lists to rank, and rankings of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.distillation.rules import canonical
from pipeline.errors import InputContractError
from pipeline.ranking.runs import Run

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DevList:
    """One query and its documents that have text.

    Attributes:
        query_id: its id.
        query: its text.
        doc_ids: positives, then negatives.
        texts: of the documents.
        teacher: float32, the teacher's scores; minus infinity for a positive that it has not seen.
        relevance: of the positives, by document id; negatives are not judged.
    """

    query_id: str
    query: str
    doc_ids: list[str]
    texts: list[str]
    teacher: Floats
    relevance: dict[str, int]


def read_dev_lists(set_path: str, limit: int) -> list[DevList]:
    """The first ``limit`` queries of the dev split that have a positive and a negative with text.

    Raises:
        InputContractError: there is none, so nothing could be measured.
    """
    lists = []
    for dev in _lists(set_path):
        lists.append(dev)
        if len(lists) == limit:
            break
    if not lists:
        raise InputContractError(
            f"{set_path}: the dev split has no query with texts to rank; set split.dev_fraction "
            "above 0 and make the set again"
        )
    return lists


def judgements(lists: Sequence[DevList]) -> dict[str, dict[str, int]]:
    """Relevance by query and document, as evaluation reads it."""
    return {dev.query_id: dev.relevance for dev in lists}


def ranking(name: str, lists: Sequence[DevList], scores: Sequence[Floats]) -> Run:
    """The lists in the order of some scores; what ties is ordered by document id."""
    rankings = {}
    for dev, values in zip(lists, scores, strict=True):
        pairs = sorted(zip(-values.astype(np.float64), dev.doc_ids, strict=True))
        rankings[dev.query_id] = [doc_id for _, doc_id in pairs]
    return Run(name, rankings)


def _lists(set_path: str) -> Iterator[DevList]:
    for rows in canonical.read_parts(set_path, canonical.DEV):
        for row in rows.to_pylist():
            kept = [
                [item for item in row[kind] if item[schema.TEXT] is not None]
                for kind in (canonical.POSITIVES, canonical.NEGATIVES)
            ]
            if row[schema.QUERY] is None or not all(kept):
                continue
            items = [*kept[0], *kept[1]]
            scores = [-np.inf if x[schema.SCORE] is None else x[schema.SCORE] for x in items]
            yield DevList(
                query_id=row[schema.QUERY_ID],
                query=row[schema.QUERY],
                doc_ids=[item[schema.DOC_ID] for item in items],
                texts=[item[schema.TEXT] for item in items],
                teacher=np.array(scores, dtype=np.float32),
                # A positive that only the teacher chose has no judgement, or a judgement of 0.
                relevance={
                    item[schema.DOC_ID]: max(item[canonical.RELEVANCE] or 1, 1) for item in kept[0]
                },
            )
