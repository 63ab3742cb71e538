"""The reranker without Ray: the same families and the same engine, for notebooks and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig, ModelConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import best_device_kind
from pipeline.engine.engine import Engine
from pipeline.engine.scoring import Scoreable
from pipeline.ranking.ranks import rank_lists
from pipeline.rerankers.support import cards


@dataclass(frozen=True, kw_only=True)
class RankedDocument:
    """One row of a ranked list.

    Attributes:
        index: place of the document in the caller's list.
        rank: 1 = best.
        score: the model's raw output; None where the document could not be scored.
        document: its text.
    """

    index: int
    rank: int
    score: float | None
    document: str | None


class Ranker:
    """A loaded model that scores documents for a query, in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def score_scale(self) -> str:
        """What a score is: logit, cosine, probability, preference or overlap."""
        return self.engine.reranker.score_scale

    def score(self, query: str, documents: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """float32 [N] raw scores in input order; NaN for a None document."""
        return self.score_lists(CandidateLists.from_texts(query, list(documents)))

    def score_lists(self, lists: CandidateLists) -> npt.NDArray[np.float32]:
        """float32 [N] raw scores of many lists at once, in document order; NaN where rejected."""
        reranker = self.engine.reranker
        scoreable = Scoreable.of(lists, reranker)
        sequences = reranker.encode(scoreable.lists)
        sequences, readouts = self.engine.run(scoreable.lists, sequences)
        scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
        scores[scoreable.documents], _ = scoreable.expand(reranker, sequences, readouts)
        return scores

    def rank(
        self, query: str, documents: Sequence[str | None], *, top_k: int | None = None
    ) -> list[RankedDocument]:
        """The documents best first; ties keep the input order."""
        lists = CandidateLists.from_texts(query, list(documents))
        scores = self.score_lists(lists)
        first_ranks = lists.documents.column(schema.FIRST_STAGE_RANK).to_numpy()
        doc_ids = lists.documents.column(schema.DOC_ID).combine_chunks()
        order, ranks = rank_lists(scores, first_ranks, doc_ids, lists.query_of_document)
        rows = [
            RankedDocument(
                index=int(index),
                rank=int(rank),
                score=None if np.isnan(scores[index]) else float(scores[index]),
                document=documents[index],
            )
            for index, rank in zip(order, ranks, strict=True)
        ]
        return rows[:top_k]


def load(
    model: str,
    *,
    family: str | None = None,
    revision: str | None = None,
    sha256: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    token_budget: int | None = None,
    packing: str = "auto",
    share_prefixes: bool = True,
    **settings: Any,
) -> Ranker:
    """Load a model for use in this process.

    Args:
        model: a model card's name, or with ``family`` a checkpoint folder, URI or hub id.
        family: the file in ``pipeline/rerankers`` that runs the model; a card knows its own.
        revision: commit of a hub id.
        sha256: as ``model.sha256`` of a job.
        device: ``cpu`` or ``cuda``; default: cuda where torch sees one.
        dtype: as ``engine.dtype`` of a job.
        token_budget: as ``engine.token_budget`` of a job.
        packing: as ``engine.packing`` of a job.
        share_prefixes: as ``engine.share_prefixes`` of a job.
        **settings: the family's settings, such as ``max_length``.

    Raises:
        ConfigurationError: unknown card, family or setting.
        NotFoundError: no checkpoint there.
        ModelError: the checkpoint does not fit the family.
    """
    engine = EngineConfig.model_validate(
        {
            "dtype": dtype,
            "token_budget": token_budget,
            "packing": packing,
            "share_prefixes": share_prefixes,
        }
    )
    if family is None:
        config = cards.resolve(
            ModelConfig(name=model, revision=revision, sha256=sha256, settings=settings)
        )
    else:
        config = ModelConfig(
            family=family, weights=model, revision=revision, sha256=sha256, settings=settings
        )
    kind = device or best_device_kind()
    return Ranker(build_engine(build_reranker(config), engine, kind))
