"""A sample of a planned input, tokenised as the run will, piece by piece.

A piece is a whole unit where units are small enough that some fit the sample, for a unit is where
equal texts and common beginnings are computed once; else it is the beginning of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import Unit
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged
from pipeline.engine.scoring import Scoreable
from pipeline.forecast.estimates import Estimate, Floats, ratio
from pipeline.forecast.output_size import OutputSize
from pipeline.forecast.subject import Subject
from pipeline.hashes import Hashes, stable_hashes
from pipeline.networks.flops import Network
from pipeline.rerankers.base import Reranker, WeightedReranker
from pipeline.sequences.arrays import Int64s
from pipeline.sequences.sequences import Sequences

#: Candidates that are tokenised unless another number is asked for: a few seconds of one CPU.
DOCUMENTS: Final = 8_192

#: Pieces at least, where the input has so many: fewer say little of how far off they may be.
_PIECES: Final = 16

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


def take_sample(subject: Subject, *, documents: int = DOCUMENTS) -> Sample | None:
    """Read and tokenise about so many candidates from all over the input, or all of fewer.

    Args:
        subject: the planned job.
        documents: candidates that are asked for; whole lists are read, so there may be more.

    Returns:
        None where the input has no candidates, or where they are images.

    Raises:
        InputContractError: the input is damaged or has changed since it was planned.
    """
    ranges, whole = ranges_of(subject.plan.units, documents)
    network, weigh = _network(subject.reranker), OutputSize(subject.config.output)
    separator = subject.config.input.text_separator
    pieces = []
    for start, stop in ranges:
        lists = read_unchanged(
            subject.source,
            lambda source: read_lists(source, start, stop, separator=separator),  # noqa: B023
        )
        if subject.reranker.reads_images and _has_images(lists):
            return None
        if lists.documents.num_rows:
            pieces.append(_piece(lists, subject, network, weigh))
    if not pieces:
        return None
    return Sample(
        pieces=tuple(pieces),
        documents_planned=subject.plan.documents,
        whole_units=whole,
        network=network,
    )


def ranges_of(units: Sequence[Unit], documents: int) -> tuple[list[tuple[int, int]], bool]:
    """Row ranges that a sample is read from, and whether they are whole units.

    All units where they fit; else so many whole ones as do, evenly over the input; else the
    beginnings of :data:`_PIECES` parts of it.
    """
    total = sum(unit.documents for unit in units)
    if total <= documents:
        return [(unit.start, unit.stop) for unit in units], True
    fitting = int(documents * len(units) / total)
    if fitting >= _PIECES:
        places = [len(units) * (2 * i + 1) // (2 * fitting) for i in range(fitting)]
        return [(units[place].start, units[place].stop) for place in places], True
    first, stop = units[0].start, units[-1].stop
    rows = stop - first
    length = max(1, round(documents / _PIECES * rows / total))
    starts = [first + rows * i // _PIECES for i in range(_PIECES)]
    return [(start, min(stop, start + length)) for start in dict.fromkeys(starts)], False


def _piece(
    lists: CandidateLists, subject: Subject, network: Network | None, weigh: OutputSize
) -> Piece:
    reranker = subject.reranker
    chosen = Scoreable.of(lists, reranker)
    scoreable = chosen.lists
    encoded = reranker.encode(scoreable)
    cut = encoded.links.get(schema.TRUNCATED)
    # A text that is missing is no copy of another one that is.
    texts = lists.documents.column(schema.TEXT).take(pa.array(chosen.documents))
    hashes = stable_hashes(text or "" for text in texts.to_pylist())
    of_query = lists.query_of_document[chosen.documents].astype(np.uint64)
    pairs = np.unique(np.column_stack([of_query, hashes]), axis=0)
    rounds = list(_rounds(scoreable, encoded, reranker))
    return Piece(
        queries=len(lists),
        documents=lists.documents.num_rows,
        tokens=int(encoded.offsets[-1]),
        sequences=len(encoded),
        network_tokens=sum(int(one.offsets[-1]) for one in rounds),
        flops=0.0 if network is None else sum(network.flops(one.lengths) for one in rounds),
        truncated=None if cut is None else int(np.count_nonzero(cut[chosen.pairs])),
        texts=len(texts),
        stored=weigh.of_rows(lists),
        described=weigh.of_unit(lists),
        lengths=encoded.lengths,
        duplicates=len(texts) - len(pairs),
        text_hashes=np.unique(hashes),
    )


def _rounds(
    scoreable: CandidateLists, encoded: Sequences, reranker: Reranker
) -> Iterator[Sequences]:
    """The sequences of all rounds, prompts whole; what a model would answer is not known."""
    following: Sequences | None = encoded
    width = reranker.readout_width if isinstance(reranker, WeightedReranker) else 1
    while following is not None:
        yield following.unshared()
        unknown = np.full((int(following.readout_offsets[-1]), width), np.nan, dtype=np.float32)
        following = reranker.next_round(scoreable, following, unknown)


def _network(reranker: Reranker) -> Network | None:
    """What a token costs; None without a network, or where config.json does not tell its sizes."""
    if not isinstance(reranker, WeightedReranker):
        return None
    try:
        return Network.of(reranker.checkpoint.config)
    except (KeyError, TypeError):
        return None


def _has_images(lists: CandidateLists) -> bool:
    return any(
        schema.IMAGE in table.column_names
        and table.column(schema.IMAGE).null_count < table.num_rows
        for table in (lists.documents, lists.queries)
    )
