"""A flat batch as tensors for networks that take one row of tokens and a plan of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from pipeline.networks.attention.plan import Plan, Segments, to_device
from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.batch import Batch

Pooling = Literal["first", "mean"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which rows of the last layer anybody looks at.

    Attributes:
        rows: int64 [r], tokens that are read out.
        plan: who sees whom when these tokens alone ask; None where their neighbours must ask too,
            as causal attention has no way to ask from the middle of a sequence.
    """

    rows: torch.Tensor
    plan: Plan | None


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Tensors on the batch's device; ``T`` tokens in one row.

    Attributes:
        input_ids: int64 [1, T].
        position_ids: int64 [1, T].
        segment_ids: int64 [1, T]; zeros where the batch has none.
        plan: who sees whom.
        reading: what is read out.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segment_ids: torch.Tensor
    plan: Plan
    reading: Reading


def pack(
    batch: Batch,
    *,
    causal: bool = False,
    padding_position: int | None = None,
    attended: Int64s | None = None,
) -> Packed:
    """A batch without padding, of tensors that are on the device already or on their way there.

    Args:
        batch: sequences, those that others go on after in front.
        causal: whether a token sees only those before it.
        padding_position: for RoBERTa, the padding's id, from which positions are counted.
        attended: int64 [b], how many leading tokens of each sequence the others see; all where
            None.
    """
    tensors = batch.tensors
    ids, segments = tensors.token_ids, tensors.segment_ids
    if padding_position is None:
        each = torch.repeat_interleave(tensors.shifts, tensors.lengths, output_size=len(ids))
        positions = torch.arange(len(ids), device=ids.device).add_(each)
    else:
        positions = roberta_positions(ids, tensors.ends, tensors.lengths, padding_position)
    plan = attention_plan(batch, causal=causal, attended=attended)
    return Packed(
        input_ids=ids[None],
        position_ids=positions[None],
        segment_ids=torch.zeros_like(ids)[None] if segments is None else segments[None],
        plan=plan,
        reading=Reading(rows=tensors.readout_rows, plan=reading_plan(batch, plan)),
    )


def attention_plan(batch: Batch, *, causal: bool, attended: Int64s | None = None) -> Plan:
    """Every sequence sees itself, and its beginning where that is another sequence.

    Raises:
        ValueError: sequences of one beginning do not stand together, in the order of beginnings.
    """
    if attended is not None and (attended < batch.lengths).any():
        seen = ragged_range(batch.offsets[:-1], attended)
        keys = np.append(0, np.cumsum(attended))
        return Plan(own=Segments(batch.offsets, keys), seen=to_device(seen, batch.device))
    own = Segments(batch.offsets, batch.offsets)
    if batch.parents is None or (batch.parents < 0).all():
        return Plan(own=own, causal=causal)
    if not causal:
        raise ValueError("a beginning is shared only where nothing before it looks at what follows")
    first, edges = _families(batch)
    shared = Segments(batch.offsets[edges], batch.offsets[: first + 1])
    return Plan(own=own, causal=True, shared=shared)


def reading_plan(batch: Batch, plan: Plan) -> Plan | None:
    """Who sees whom when only the tokens that are read out ask; see :class:`Reading`."""
    if plan.seen is not None:
        return None
    roots = 0 if batch.parents is None or plan.shared is None else _families(batch)[0]
    leaves = np.arange(roots, len(batch.lengths))
    if not np.array_equal(batch.readout_sequences, leaves):
        return None
    if plan.causal and (batch.readout_positions != batch.lengths[roots:] - 1).any():
        return None
    own = Segments(np.arange(len(leaves) + 1), batch.offsets[roots:])
    if plan.shared is None:
        return Plan(own=own)
    edges = _families(batch)[1] - roots
    return Plan(own=own, shared=Segments(edges, batch.offsets[: roots + 1]))


def _families(batch: Batch) -> tuple[int, Int64s]:
    """How many beginnings there are, and int64 [n + 1], which sequences go on after each."""
    assert batch.parents is not None
    going_on = np.flatnonzero(batch.parents >= 0)
    roots = int(going_on[0])
    parents = batch.parents[going_on]
    edges = np.searchsorted(parents, np.arange(roots + 1)) + roots
    together = np.array_equal(going_on, np.arange(roots, roots + len(going_on)))
    if not (together and (np.diff(parents) >= 0).all() and (np.diff(edges) > 0).all()):
        raise ValueError("sequences must stand behind all beginnings and in the order of theirs")
    return roots, edges


def roberta_positions(
    ids: torch.Tensor, ends: torch.Tensor, lengths: torch.Tensor, padding: int
) -> torch.Tensor:
    """int64 [T]: as RoBERTa counts, from ``padding + 1``; the padding's id takes no position.

    A text may hold that id literally, and upstream's networks number it as padding.

    Args:
        ids: int64 [T].
        ends: int64 [b], where each sequence ends.
        lengths: int64 [b], tokens of each.
        padding: the padding's id.
    """
    counted = (ids != padding).long()
    before = torch.nn.functional.pad(counted.cumsum(0), (1, 0))
    earlier = torch.repeat_interleave(before[ends - lengths], lengths, output_size=len(ids))
    return (before[1:] - earlier).mul_(counted).add_(padding)


def mean(hidden: torch.Tensor, lengths: Int64s) -> torch.Tensor:
    """float32 [b, hidden]: the mean row of each sequence of [T, hidden]."""
    counts = to_device(lengths, hidden.device)
    total = torch.segment_reduce(hidden.float(), "sum", lengths=counts, unsafe=True)
    return total / counts[:, None]
