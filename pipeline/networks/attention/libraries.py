"""The attention kernels that a GPU may have, each as one function over sequences side by side.

Each is looked for once, and None where this machine lacks it.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import logging
from collections.abc import Callable
from typing import Any

import torch

from pipeline.networks.attention.plan import EVERYTHING, Attended, Call

logger = logging.getLogger("pipeline")

#: One kernel over the segments of a call.
Kernel = Callable[[Call], Attended]


@functools.cache
def flash_2() -> Kernel | None:
    """FlashAttention-2 as stock torch has it since 2.11; None, with a word in the log, before."""
    try:
        from torch.nn.attention.varlen import AuxRequest, varlen_attn
    except ImportError:
        parameters: frozenset[str] = frozenset()
    else:
        parameters = frozenset(inspect.signature(varlen_attn).parameters)
    if not {"scale", "window_size", "return_aux"} <= parameters:
        logger.warning(
            "torch %s has no torch.nn.attention.varlen with windows; attention runs by groups of "
            "equal length, which is exact and slower. Install torch 2.11 or later",
            torch.__version__,
        )
        return None
    # The kernel itself takes fewer key heads in every version; newer ones want to hear of it.
    grouped: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in parameters else {}

    def by_flash_2(call: Call) -> Attended:
        queries, keys = call.segments.offsets(call.query.device)
        result: Any = varlen_attn(
            *call.rows,
            queries,
            keys,
            # With 1 the kernel regroups heads, and its log-sum-exp is no longer that of the heads.
            max(2, call.segments.longest_query),
            call.segments.longest_key,
            return_aux=AuxRequest(lse=True) if call.sums else None,
            scale=call.scale,
            window_size=call.window,
            **grouped,
        )
        # The log-sum-exp comes as [heads, Tq], whatever the documentation says.
        return (result[0], result[1].t().contiguous()) if call.sums else (result, None)

    return by_flash_2


@functools.cache
def flash_4() -> Kernel | None:
    """FlashAttention-4 (the package flash-attn-4) on Hopper and later; None elsewhere.

    Called by itself and not through torch's registry, which would put it in FlashAttention-2's
    place for all calls of the process.
    """
    if torch.cuda.get_device_capability()[0] not in (9, 10):
        return None
    if importlib.util.find_spec("flash_attn") is None:
        return None
    try:
        from flash_attn.cute import flash_attn_varlen_func
    except Exception as error:  # whatever an installed package that does not fit raises
        logger.warning(
            "flash-attn-4 does not load (%s: %s); FlashAttention-2 runs instead",
            type(error).__name__,
            error,
        )
        return None

    def by_flash_4(call: Call) -> Attended:
        queries, keys = call.segments.offsets(call.query.device)
        causal = call.window == (-1, 0)
        sides = (None, None) if causal or call.window == EVERYTHING else call.window
        out, total = flash_attn_varlen_func(
            *call.rows,
            cu_seqlens_q=queries,
            cu_seqlens_k=keys,
            max_seqlen_q=call.segments.longest_query,
            max_seqlen_k=call.segments.longest_key,
            softmax_scale=call.scale,
            causal=causal,
            window_size=sides,
            return_lse=call.sums,
        )
        return (out, total.t().contiguous()) if call.sums else (out, None)

    return by_flash_4


def has_triton() -> bool:
    """Whether kernels of our own can be compiled here."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def small_blocks() -> Kernel | None:
    """The kernel of :mod:`pipeline.networks.attention.triton_kernel`; None without Triton."""
    if not has_triton():
        return None
    from pipeline.networks.attention.triton_kernel import encoder_attention

    def by_triton(call: Call) -> Attended:
        return encoder_attention(*call.rows, call.segments, scale=call.scale), None

    return by_triton
