"""How many documents a unit has where ``units.documents`` is ``auto``: by time, from constants.

A unit costs a fixed few milliseconds (a task of Ray, marks, files), is what is lost when a worker
dies, and is in memory as a whole. So it should take one to two seconds of a GPU, or ten to thirty
of a CPU. What a document takes is counted on a sample of the input: its token sequences as the
family encodes them, and the operations that the network of config.json needs for them. How fast a
device is, is a constant here and is never measured: the same input and configuration give the same
units on every machine, and a run that was begun on one is resumed on another.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.sample import sample_lists
from pipeline.config import JobConfig
from pipeline.engine.device import device_kind
from pipeline.engine.scoring import Scoreable
from pipeline.networks.flops import text_flops
from pipeline.rerankers.base import Reranker, WeightedReranker
from pipeline.sequences.sequences import Sequences

logger = logging.getLogger("pipeline")

#: Operations per second of one replica. Measured on an H100 in bfloat16: 155 to 400 TFLOP/s from
#: Qwen3-0.6B to XLM-R base, and 190 for MiniLM-L6; on a core of a Zen 4 in float32: 105 GFLOP/s,
#: on cores of ten years before about 40.
RATES: Final = {"cuda": 2e14, "cpu": 5e10}

#: Seconds that a unit should take at this rate: 0.75 to 2 of that H100; 10 of that Zen 4, and
#: below 30 of the old core.
SECONDS: Final = {"cuda": 1.5, "cpu": 20.0}

#: Whatever the model: a unit's status holds a hash per query, and its loss must stay cheap.
MOST_DOCUMENTS: Final = 100_000

#: Texts, token sequences and readouts of a unit, which travel as one row and are in memory at once.
MOST_BYTES: Final = 256 * 2**20

#: Where nothing can be counted: no network, no sizes, a family of the user's own.
UNKNOWN_DOCUMENTS: Final = 5_000

#: Seconds of a CPU that a document takes a family of this package without a network: to be read,
#: encoded, ranked and written. 100 to 280 µs on an AMD EPYC (docs/compare.md).
NO_NETWORK_S: Final = 3e-4

#: Where documents are images, each of which travels as up to 1.8 MB of pixels.
IMAGE_DOCUMENTS: Final = 100

#: An input is cut into so many units at least, where none gets smaller than the first one: then
#: several replicas have work, and progress shows.
_UNITS: Final = 16

#: The first unit's share of the others.
_FIRST: Final = 8

#: Where the families of this package are.
_OURS: Final = "pipeline.rerankers."

#: Bytes of a number of a readout.
_FLOAT: Final = 4


@dataclass(frozen=True, kw_only=True)
class UnitSize:
    """How an input is cut, and why; part of ``run.json``.

    Attributes:
        documents: target size of a unit.
        first: target size of the first unit; the following ones grow to ``documents``.
        reason: in words.
        seconds: that the whole input takes one replica at :data:`RATES`, or without a network at
            :data:`NO_NETWORK_S` a document; None where unknown.
    """

    documents: int
    first: int
    reason: str
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a document takes, on average over a sample.

    Attributes:
        flops: operations of the network, all rounds of a family with several together.
        tokens: that the network reads.
        size: bytes of its text, token sequences and readouts.
        listed: documents of a candidate list.
        pointwise: whether documents are scored by themselves.
    """

    flops: float
    tokens: float
    size: float
    listed: float
    pointwise: bool


def unit_size(config: JobConfig, source: Input, reranker: Reranker) -> UnitSize:
    """The size that a job asks for, or the one that suits its model, its texts and its device.

    Raises:
        InputContractError: a list of the sample cannot be read.
    """
    asked, ours = config.units.documents, type(reranker).__module__.startswith(_OURS)
    light = ours and not isinstance(reranker, WeightedReranker)
    seconds = round(source.documents * NO_NETWORK_S, 3) if light else None
    if asked != "auto":
        reason = "as units.documents says"
        return UnitSize(documents=asked, first=asked, reason=reason, seconds=seconds)
    if not isinstance(reranker, WeightedReranker):
        return _fixed(UNKNOWN_DOCUMENTS, "this family has no network", seconds=seconds)
    if not ours:
        return _fixed(UNKNOWN_DOCUMENTS, "what a family of your own costs is not known")
    sample = sample_lists(source, separator=config.input.text_separator)
    if not sample:
        return _fixed(UNKNOWN_DOCUMENTS, "the input has no documents to judge it by")
    if reranker.reads_images and any(map(_has_images, sample)):
        return _fixed(IMAGE_DOCUMENTS, "images travel as up to 1.8 MB each")
    try:
        cost = measured(sample, reranker, share_prefixes=config.engine.share_prefixes)
    except Exception as error:  # the units are cut another way; where it matters, scoring says so
        logger.debug("the sample cannot be judged", exc_info=error)
        return _fixed(
            UNKNOWN_DOCUMENTS,
            f"what a document costs cannot be counted ({type(error).__name__}: {error})",
        )
    total = source.documents
    return chosen(cost, device_kind(config.replicas.gpus), documents=total)


def chosen(cost: Cost, kind: str, *, documents: int) -> UnitSize:
    """The size of units for a cost.

    Args:
        cost: of a document.
        kind: of device: cpu or cuda.
        documents: of the whole input.
    """
    device = "GPU" if kind == "cuda" else "CPU"
    by_time = RATES[kind] * SECONDS[kind] / cost.flops
    limits = {
        f"about {SECONDS[kind]:g} s of a {device}": by_time,
        "no more, so that little is lost with a worker": float(MOST_DOCUMENTS),
        f"{MOST_BYTES >> 20} MiB in memory": MOST_BYTES / cost.size,
    }
    why = min(limits, key=lambda name: limits[name])
    size = limits[why]
    part = documents / _UNITS
    if part < size:
        size, why = max(part, size / _FIRST), f"at least {_UNITS} units, to share out"
    whole = _rounded(size, cost)
    return UnitSize(
        documents=whole,
        first=min(whole, math.ceil(math.ceil(whole / _FIRST / cost.listed) * cost.listed)),
        reason=f"{why}: {cost.tokens:,.0f} tokens and {_with_unit(cost.flops)} a document",
        seconds=round(documents * cost.flops / RATES[kind], 3),
    )


def measured(
    sample: Sequence[CandidateLists], reranker: WeightedReranker, *, share_prefixes: bool
) -> Cost:
    """Encode a sample as the run will, through all rounds, and count.

    Args:
        sample: candidate lists with at least one document.
        reranker: its CPU half.
        share_prefixes: whether beginnings that sequences share are computed once.

    Raises:
        KeyError: config.json does not say how large the network is.
    """
    flops = tokens = size = 0.0
    width = reranker.readout_width
    for lists in sample:
        scoreable = Scoreable.of(lists, reranker).lists
        encoded = sequences = reranker.encode(scoreable)
        following: Sequences | None = sequences
        while following is not None:
            sequences = following if share_prefixes else following.unshared()
            flops += text_flops(reranker.checkpoint.config, sequences)
            tokens += int(sequences.offsets[-1])
            readouts = int(sequences.readout_offsets[-1])
            unknown = np.full((readouts, 1), np.nan, dtype=np.float32)
            following = reranker.next_round(scoreable, sequences, unknown)
        readouts = int(encoded.readout_offsets[-1])
        size += len(lists.to_ipc()) + len(encoded.to_ipc()) + readouts * width * _FLOAT
    documents = sum(lists.documents.num_rows for lists in sample)
    queries = sum(len(lists) - len(lists.empty) for lists in sample)
    return Cost(
        flops=max(flops / documents, 1.0),
        tokens=tokens / documents,
        size=max(size / documents, 1.0),
        listed=documents / queries,
        pointwise=reranker.pointwise,
    )


def _rounded(size: float, cost: Cost) -> int:
    """A round number of documents, or of lists where those are scored as a whole.

    So another version of a tokenizer, which may cut a word differently, rarely changes the units.
    """
    if cost.pointwise:
        return max(_round(size), math.ceil(cost.listed))
    return math.ceil(_round(size / cost.listed) * cost.listed)


def _round(number: float) -> int:
    """1, 1.5, 2, 3 and so on to 9 times a power of ten: the next one below, and 1 at least."""
    if number < 10:
        return max(1, int(number))
    power = 10 ** math.floor(math.log10(number))
    step = power // 2 if number < 2 * power else power
    return int(number // step * step)


def _with_unit(flops: float) -> str:
    return f"{flops / 1e9:,.1f} GFLOP" if flops < 1e12 else f"{flops / 1e12:,.1f} TFLOP"


def _has_images(lists: CandidateLists) -> bool:
    return any(
        schema.IMAGE in table.column_names
        and table.column(schema.IMAGE).null_count < table.num_rows
        for table in (lists.documents, lists.queries)
    )


def _fixed(documents: int, reason: str, *, seconds: float | None = None) -> UnitSize:
    first = -(-documents // _FIRST)
    return UnitSize(documents=documents, first=first, reason=reason, seconds=seconds)
