"""Attention over sequences that stand one after the other in one flat tensor, without padding.

Which queries see which keys is a :class:`~pipeline.networks.attention.plan.Plan`. A plan is one
call of a kernel, and where sequences go on after a shared beginning a second one to the beginning's
keys, joined by their log-sum-exp, as "cascade" attention does
(flashinfer.ai/2024/02/02/cascade-inference.html; Milakov and Gimelshein, arXiv:1805.02867).
Nothing here waits for the device, but for the trials of :mod:`pipeline.networks.attention.kernels`.
"""

from __future__ import annotations

import torch

from pipeline.networks.attention.kernels import kernel_for, refuse
from pipeline.networks.attention.plan import EVERYTHING, Call, Plan, Segments, Window
from pipeline.networks.attention.runs import by_runs
from pipeline.networks.fusing import fused
from pipeline.networks.refusals import out_of_memory


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: Plan,
    *,
    scale: float | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """Attention of a batch.

    Args:
        query: [Tq, heads, dim].
        key: [Tk, key heads, dim]; fewer heads than queries have are shared by groups of them.
        value: like ``key``.
        plan: who sees whom.
        scale: of the dot products; ``dim ** -0.5`` by default.
        window: tokens seen, itself included, to one side (causal) or to each.

    Returns:
        [Tq, heads, dim], contiguous.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    sides = _sides(plan, window)
    if plan.seen is not None:
        key, value = key[plan.seen], value[plan.seen]

    def call(segments: Segments, sides: Window, sums: bool) -> Call:
        return Call(
            query=query, key=key, value=value,
            segments=segments, window=sides, scale=scale, sums=sums,
        )  # fmt: skip

    if plan.shared is None:
        return _attended(call(plan.own, sides, False))[0]
    if sides[0] >= 0:
        raise NotImplementedError("a window that reaches into a shared beginning")
    out, own = _attended(call(plan.own, sides, True))
    rows = plan.shared.query_rows
    seen, other = _attended(call(plan.shared, EVERYTHING, True))
    out[rows] = _joined(out[rows], seen, own[rows], other)
    return out


def _sides(plan: Plan, window: int | None) -> Window:
    if window is None:
        return (-1, 0) if plan.causal else (-1, -1)
    return (window - 1, 0) if plan.causal else (window - 1, window - 1)


def _attended(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kernel of choice gives; without ``sums`` the second tensor is empty."""
    kernel = kernel_for(call)
    try:
        out, total = kernel(call)
    except Exception as error:  # a compiler's or a library's own classes
        if kernel is by_runs or out_of_memory(error):
            raise
        # A library that refuses its input must not fail a run: the next kernel may take it, and
        # exact attention takes anything.
        refuse(kernel, call, error)
        return _attended(call)
    return out, call.query.new_empty(0) if total is None else total


@fused
def _joined(
    own: torch.Tensor, other: torch.Tensor, own_sums: torch.Tensor, other_sums: torch.Tensor
) -> torch.Tensor:
    """[n, heads, dim]: attention to two sets of keys, from that to each and its log-sum-exp."""
    share = torch.sigmoid(own_sums - other_sums)[..., None]
    return torch.lerp(other.float(), own.float(), share).to(own.dtype)
