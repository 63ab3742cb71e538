"""Scores become orders: the first stage's, and one of each model, as a run would write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.ranking.agreement import OrderAgreement, order_agreement
from pipeline.ranking.ranks import rank_lists
from pipeline.ranking.runs import Run, named_once, ranked_run

#: What the order in which candidates came is called, in reports and as a baseline.
FIRST_STAGE: Final = "first_stage"

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Several orders of the same lists.

    Attributes:
        lists: of all documents [N].
        shown: int64 [M], those that the models were shown.
        ranks: int32 [N] by name, the first stage's first.
    """

    lists: CandidateLists
    shown: npt.NDArray[np.int64]
    ranks: Mapping[str, Int32s]

    @classmethod
    def of(cls, lists: CandidateLists, scores: Mapping[str, npt.NDArray[np.float32]]) -> Orders:
        """Rank all documents of the lists.

        Args:
            lists: the documents [N].
            scores: float32 [M] of those without a reason against them, by name of the model.
        """
        _, shown = lists.scoreable()
        every = {FIRST_STAGE: np.zeros(lists.documents.num_rows, dtype=np.float32)}
        for name, found in scores.items():
            every[name] = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
            every[name][shown] = found
        ranks = {name: _ranks(lists, values) for name, values in every.items()}
        return cls(lists=lists, shown=shown, ranks=ranks)

    def run(self, name: str) -> Run:
        """One of the orders, to be evaluated."""
        documents = self.lists.documents
        query_ids = self.lists.queries.column(schema.QUERY_ID)
        table = pa.table(
            {
                schema.QUERY_ID: query_ids.take(pa.array(self.lists.query_of_document)),
                schema.DOC_ID: documents.column(schema.DOC_ID),
                schema.RANK: pa.array(self.ranks[name]),
                schema.REASON: documents.column(schema.REASON),
            }
        )
        return ranked_run(named_once(table), name)

    def agreement(self, first: str, second: str) -> OrderAgreement:
        """How alike two orders are, of the documents that models were shown."""
        lists = self.lists.query_of_document[self.shown]
        return order_agreement(self.ranks[first][self.shown], self.ranks[second][self.shown], lists)


def _ranks(lists: CandidateLists, scores: npt.NDArray[np.float32]) -> Int32s:
    documents = lists.documents
    order, ranks = rank_lists(
        scores,
        documents.column(schema.FIRST_STAGE_RANK).to_numpy(),
        documents.column(schema.DOC_ID).combine_chunks(),
        lists.query_of_document,
    )
    found = np.empty(len(order), dtype=np.int32)
    found[order] = ranks
    return found
