"""What is compared: something that scores candidate lists with the model of a bench."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from pipeline import schema
from pipeline.bench.engines import Scored
from pipeline.candidates.lists import CandidateLists


class Contender(Protocol):
    """One way to score lists: a peer, which names this class as its base, or the package's engine.

    The network is loaded by the constructor.

    Attributes:
        name: as ``--engine`` and ``--peers`` know it.
        about: one line for people.
        shares: whether it computes what prompts have in common once.
        precision: its own, by name; empty where it has that of the comparison.
    """

    name: str
    about: str
    shares: bool = False
    precision: str = ""

    @abstractmethod
    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Score all units, from texts to scores on the host."""


def pairs_of(lists: CandidateLists) -> list[tuple[str, str]]:
    """Every query with each of its documents, as texts."""
    queries = lists.queries.column(schema.QUERY).to_pylist()
    texts = lists.documents.column(schema.TEXT).to_pylist()
    return [
        (queries[query], text)
        for query, text in zip(lists.query_of_document.tolist(), texts, strict=True)
    ]
