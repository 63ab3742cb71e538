"""Every model over the same documents, block by block in turns, so that all have the same machine.

Whatever else the machine does for a while, it does to all of them: each block is scored by one
model after the other, and the model that comes first is another one in each block.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.bench.inputs.workloads import part
from pipeline.bench.measuring import Cost
from pipeline.candidates.lists import CandidateLists
from pipeline.comparison.loading import LoadedModel
from pipeline.engine.scoring import Scoreable
from pipeline.engine.statistics import Statistics

logger = logging.getLogger("pipeline")

#: Blocks that a sample is cut into, where it has so many queries.
_BLOCKS: Final = 12

#: Documents of a block on a GPU at least, which smaller ones would leave idle, and blocks that are
#: measured there at least, for which a small sample is scored more than once.
_GPU_DOCUMENTS: Final = 5_000
_GPU_BLOCKS: Final = 3


@dataclass(kw_only=True)
class Measured:
    """What one model gave and took.

    Attributes:
        scores: float32 [N], in the order of the documents; NaN where there is none.
        codes: object [N], why a document that could be scored has no score; None elsewhere.
        cut: documents whose text was cut to fit; None where the family does not say.
        documents: of each block that was measured.
        costs: of each block, from texts to scores.
        encoding: seconds of the part before the network, all blocks together.
        counted: by the engine, in all measured blocks.
    """

    scores: npt.NDArray[np.float32]
    codes: npt.NDArray[np.object_]
    cut: int | None = 0
    documents: list[int] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    encoding: Cost = field(default_factory=Cost)
    counted: Statistics = field(default_factory=Statistics)

    @property
    def speeds(self) -> list[float]:
        """Documents per second of each block, by the clock."""
        pairs = zip(self.documents, self.costs, strict=True)
        return [documents / cost.wall_s for documents, cost in pairs]

    def times_as_fast(self, other: Measured) -> float:
        """This model's speed over another one's: the median over blocks, each beside the other."""
        pairs = zip(self.costs, other.costs, strict=True)
        return statistics.median(theirs.wall_s / ours.wall_s for ours, theirs in pairs)


def score_all(models: Sequence[LoadedModel], lists: CandidateLists) -> list[Measured]:
    """Score the lists with every model, after a warm-up that is not measured.

    Args:
        models: the models, on the same device.
        lists: at least one.

    Raises:
        ConfigurationError: a quantised model ranks too differently, see ``engine.min_overlap``.
    """
    gpu = any(model.engine.device.type == "cuda" for model in models)
    blocks = _blocks(lists, least=_GPU_DOCUMENTS if gpu else 1)
    turns = max(1, -(-_GPU_BLOCKS // len(blocks))) if gpu else 1
    found = [_nothing(lists.documents.num_rows) for _ in models]
    for model in models:
        first = blocks[0] if gpu else (blocks[0][0], blocks[0][0] + 1)
        _score(model, lists, first, _nothing(lists.documents.num_rows))
    began = time.perf_counter()
    for number in range(turns * len(blocks)):
        for turn in range(len(models)):
            place = (number + turn) % len(models)
            _score(models[place], lists, blocks[number % len(blocks)], found[place])
        logger.info(
            "block %d of %d scored by every model, %.0f s",
            number + 1, turns * len(blocks), time.perf_counter() - began,
        )  # fmt: skip
    for one in found:
        if one.cut is not None:
            one.cut //= turns
    return found


def _nothing(documents: int) -> Measured:
    return Measured(
        scores=np.full(documents, np.nan, dtype=np.float32),
        codes=np.full(documents, None, dtype=object),
    )


def _blocks(lists: CandidateLists, *, least: int) -> list[tuple[int, int]]:
    """Ranges of queries with about as many documents each."""
    documents = lists.documents.num_rows
    count = max(1, min(_BLOCKS, len(lists), documents // least))
    wanted = [documents * place / count for place in range(count)]
    edges = np.unique(np.searchsorted(lists.offsets[:-1], wanted)).tolist()
    ranges = list(zip(edges, [*edges[1:], len(lists)], strict=True))
    return [(first, last) for first, last in ranges if lists.offsets[last] > lists.offsets[first]]


def _score(
    model: LoadedModel, lists: CandidateLists, block: tuple[int, int], found: Measured
) -> None:
    """Score one block and note what it took."""
    engine, reranker = model.engine, model.engine.reranker
    documents = part(lists, *block)
    whole, encoding = Cost(), Cost()
    with whole.adding():
        with encoding.adding():
            scoreable = Scoreable.of(documents, reranker)
            encoded = reranker.encode(scoreable.lists)
        done = engine.score(encoded, lambda: scoreable.lists)
        scores, codes = scoreable.expand(reranker, done.sequences, done.readouts)
    if engine.agreement is not None:
        with model.named.named_in_errors():
            engine.agreement.check(engine, scoreable.lists, done.sequences, done.readouts)
    places = int(lists.offsets[block[0]]) + scoreable.documents
    found.scores[places], found.codes[places] = scores, codes
    found.documents.append(len(places))
    found.costs.append(whole)
    found.encoding.wall_s += encoding.wall_s
    found.encoding.cpu_s += encoding.cpu_s
    found.counted.add_all(done.statistics)
    if schema.TRUNCATED not in done.sequences.links:
        found.cut = None
    elif found.cut is not None:
        found.cut += int(done.sequences.links[schema.TRUNCATED][scoreable.pairs].sum())
