"""Taking a sample of a planned input: which rows, and what is counted of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import Unit
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged
from pipeline.engine.scoring import Scoreable
from pipeline.forecast.output_size import OutputSize
from pipeline.forecast.sample import Piece, Sample
from pipeline.forecast.subject import Subject
from pipeline.hashes import stable_hashes
from pipeline.networks.flops import Network
from pipeline.rerankers.base import Reranker, WeightedReranker
from pipeline.sequences.sequences import Sequences

#: Candidates that are tokenised unless another number is asked for: a few seconds of one CPU.
DOCUMENTS: Final = 8_192

#: Pieces at least, where the input has so many: fewer say little of how far off they may be.
_PIECES: Final = 16


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
