"""What a model would make of an input: tokens, the size of a unit, and how many units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import plan_units
from pipeline.checkpoints import cards
from pipeline.checkpoints.naming import settled
from pipeline.cluster.nodes import this_machine
from pipeline.config import JobConfig
from pipeline.engine.build import build_reranker
from pipeline.engine.device import device_kind
from pipeline.engine.scoring import Scoreable
from pipeline.errors import RerankError
from pipeline.execution.replicas.choice import settled as settled_replicas
from pipeline.execution.unit_size import (
    UNKNOWN_DOCUMENTS,
    UnitSize,
    chosen,
    measured,
    unit_size,
)
from pipeline.inspection.distribution import distribution
from pipeline.rerankers.base import Reranker, WeightedReranker

logger = logging.getLogger("pipeline")

#: Candidates that are tokenised; whole lists are taken, so there may be more.
_TOKENISED: Final = 512


def unit_facts(
    config: JobConfig,
    source: Input | None,
    lists: Sequence[CandidateLists],
    *,
    candidates: int,
) -> dict[str, Any]:
    """How the input would be cut for the model of a job.

    Args:
        config: the job.
        source: the opened input; None: a staged copy would be cut in its place.
        lists: a sample of it.
        candidates: of the whole input.

    Returns:
        ``model``; ``documents`` (of a unit), ``units`` and ``reason``, null where the model cannot
        be built, with the reason; ``seconds`` that the whole input takes one replica by the
        estimate that units are cut by; ``tokens`` of a sequence, as the model reads it.
    """
    facts: dict[str, Any] = {"model": config.model.name or config.model.family}
    nothing = {
        "documents": None,
        "units": None,
        "seconds": None,
        "tokens": None,
        "max_tokens": None,
    }
    try:
        model = settled(config.model)
        reranker = build_reranker(model)
    except RerankError as error:
        return facts | nothing | {"reason": f"the model cannot be built here: {error}"}
    config = settled_replicas(
        config.model_copy(update={"model": model}),
        this_machine(),
        network=isinstance(reranker, WeightedReranker),
    )
    few = _few(lists)
    try:
        if source is None:
            size = _estimate(config, few, reranker, candidates)
            units = -(-candidates // max(1, size.documents))
        else:
            size = unit_size(config, source, reranker)
            plan = plan_units(source, documents=size.documents, first=size.first, fingerprint="")
            units = len(plan.units)
        limit = _most_tokens(config)
        tokens = _tokens(few, reranker, limit)
    except Exception as error:  # a sample that cannot be encoded is a matter of the run
        logger.debug("the units cannot be estimated", exc_info=error)
        return facts | nothing | {"reason": f"not estimated ({type(error).__name__}: {error})"}
    return facts | {
        "documents": size.documents,
        "units": units,
        "reason": size.reason,
        "seconds": size.seconds,
        "tokens": tokens,
        "max_tokens": limit,
    }


def _few(lists: Sequence[CandidateLists]) -> list[CandidateLists]:
    """Parts of a sample, evenly over it, that have candidates which can be scored."""
    found: list[CandidateLists] = []
    held = 0
    filled = [one for one in lists if one.documents.num_rows]
    for one in filled[:: max(1, len(filled) // 8)]:
        if held >= _TOKENISED:
            break
        stop = min(len(one), max(1, int(np.searchsorted(one.offsets, _TOKENISED // 4))))
        part = CandidateLists(
            queries=one.queries.slice(0, stop),
            offsets=one.offsets[: stop + 1],
            documents=one.documents.slice(0, int(one.offsets[stop])),
        )
        if part.documents.column(schema.REASON).null_count:
            found.append(part)
            held += part.documents.num_rows
    return found


def _estimate(
    config: JobConfig, few: Sequence[CandidateLists], reranker: Reranker, candidates: int
) -> UnitSize:
    """As :func:`unit_size`, of an input from which whole lists cannot be sampled yet."""
    asked = config.units.documents
    if asked != "auto":
        return UnitSize(documents=asked, first=asked, reason="as units.documents says")
    if not few or not isinstance(reranker, WeightedReranker):
        return UnitSize(
            documents=UNKNOWN_DOCUMENTS, first=UNKNOWN_DOCUMENTS, reason="nothing to judge it by"
        )
    cost = measured(few, reranker, share_prefixes=config.engine.share_prefixes)
    return chosen(cost, device_kind(config.replicas.gpus), documents=candidates)


def _most_tokens(config: JobConfig) -> int | None:
    """Tokens of a sequence at most, by the settings or the card of the model."""
    asked = config.model.settings.get("max_length")
    if isinstance(asked, int):
        return asked
    card = cards.known(config.model.name)
    return None if card is None else card.max_tokens


def _tokens(
    few: Sequence[CandidateLists], reranker: Reranker, limit: int | None
) -> dict[str, Any] | None:
    """Tokens of the sequences that a sample becomes; None where a family has no tokens."""
    if not isinstance(reranker, WeightedReranker) or not few:
        return None
    lengths = []
    for lists in few:
        sequences = reranker.encode(Scoreable.of(lists, reranker).lists)
        lengths.append(np.diff(sequences.offsets).astype(np.int64))
    flat = np.concatenate(lengths)
    found = distribution(flat)
    if found is not None:
        found["at_limit"] = 0 if limit is None else int((flat >= limit).sum())
    return found
