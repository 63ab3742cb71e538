"""A sample of a planned input, tokenised as the run will, piece by piece.

A piece is a whole unit where units are small enough that some fit the sample, for a unit is where
equal texts and common beginnings are computed once; else it is the beginning of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from pipeline.forecast.estimates import Estimate, Floats, ratio
from pipeline.hashes import Hashes
from pipeline.networks.flops import Network
from pipeline.sequences.arrays import Int64s

#: Sequences, each of which holds up to 5 % of the tokens where all are equal.
_LEAST_FOR_TAIL: Final = 20


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Counts of one piece.

    Attributes:
        queries: lists, empty ones among them.
        documents: candidates.
        tokens: of the encoded prompts, as a run counts them: beginnings that are shared count once.
        sequences: that they are.
        network_tokens: of all rounds, prompts counted whole.
        flops: that these take; 0 where the network's sizes are not known.
        truncated: candidates of which something is cut; None where the family does not say.
        texts: candidates against which nothing stands, such as a text that is missing.
        stored: bytes of its rows in the output's files.
        described: bytes of a unit's files besides rows.
        lengths: int64 [sequences], tokens of each.
        duplicates: those of these ``texts`` that stand in their list before.
        text_hashes: uint64 [distinct texts], to see texts that come again.
    """

    queries: int
    documents: int
    tokens: int
    sequences: int
    network_tokens: int
    flops: float
    truncated: int | None
    texts: int
    stored: int
    described: int
    lengths: Int64s
    duplicates: int
    text_hashes: Hashes


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All pieces.

    Attributes:
        pieces: those with candidates, in the order of the input.
        documents_planned: of the input, by its footers.
        whole_units: whether pieces are whole units.
        network: what a token costs; None where that is not known.
    """

    pieces: tuple[Piece, ...]
    documents_planned: int
    whole_units: bool
    network: Network | None

    @property
    def documents(self) -> int:
        """Candidates that were read."""
        return sum(piece.documents for piece in self.pieces)

    @cached_property
    def lengths(self) -> Int64s:
        """int64 [S]: of all sequences, shortest first."""
        return np.sort(np.concatenate([piece.lengths for piece in self.pieces]))

    def quantile(self, q: float) -> int:
        """Length that a share ``q`` of the sequences does not exceed; 0 where there are none."""
        return int(np.quantile(self.lengths, q, method="higher")) if len(self.lengths) else 0

    @property
    def tail_share(self) -> float:
        """Share of all tokens that the longest hundredth of the sequences holds.

        One sequence at least; 0 of so few that one of them is no tail, however long they are.
        """
        if len(self.lengths) < _LEAST_FOR_TAIL:
            return 0.0
        total = int(self.lengths.sum())
        longest = self.lengths[len(self.lengths) - max(1, len(self.lengths) // 100) :]
        return int(longest.sum()) / total if total else 0.0

    def per_document(self, count: Callable[[Piece], float]) -> Estimate:
        """A count of pieces by candidate, for the whole input."""
        return ratio(self._each(count), self._each(_documents), whole=self.documents_planned)

    def output_bytes(self, units: int) -> Estimate:
        """Of the files of so many units, which are the whole input."""
        rows = self.per_document(lambda piece: piece.stored).times(self.documents_planned)
        described = float(np.mean(self._each(lambda piece: piece.described)))
        return Estimate(value=rows.value + units * described, margin=rows.margin)

    def share_of_sequences(self, above: int, upto: int) -> Estimate:
        """Share of the sequences with more than ``above`` tokens and at most ``upto``."""

        def within(piece: Piece) -> float:
            return float(np.count_nonzero((piece.lengths > above) & (piece.lengths <= upto)))

        sizes = self._each(lambda piece: piece.sequences)
        if not sizes.any():  # nothing of what was read can be scored
            return Estimate(value=0.0, margin=0.0)
        whole = float(sizes.sum()) * max(1.0, self.documents_planned / self.documents)
        return ratio(self._each(within), sizes, whole=whole)

    @property
    def mean_length(self) -> float | None:
        """Tokens that a token's sequence has on average; None where that is not known."""
        tokens = sum(piece.network_tokens for piece in self.pieces)
        if self.network is None or not tokens:
            return None
        flops = sum(piece.flops for piece in self.pieces)
        return self.network.mean_length(tokens=tokens, flops=flops)

    @property
    def repeated(self) -> float:
        """Share of the texts that came before in the sample, in whatever list."""
        hashes = np.concatenate([piece.text_hashes for piece in self.pieces])
        texts = sum(piece.texts for piece in self.pieces)
        return 1.0 - len(np.unique(hashes)) / texts if texts else 0.0

    def _each(self, count: Callable[[Piece], float]) -> Floats:
        return np.array([count(piece) for piece in self.pieces], np.float64)


def _documents(piece: Piece) -> float:
    return piece.documents
