"""Pointwise functions that a GPU runs as one kernel each.

A network between its matrix products is a handful of small functions over rows: a norm with the
residual before it, an activation times a gate. Written in plain torch each step of them is a kernel
that reads and writes all rows; ``torch.compile`` makes one kernel of each function. Everywhere else
(on CPUs, with deterministic kernels, where nothing can be compiled) the plain function runs.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

logger = logging.getLogger("pipeline")

P = ParamSpec("P")
R = TypeVar("R")


def fused(function: Callable[P, R]) -> Callable[P, R]:
    """A pure function of tensors, compiled for tensors on CUDA.

    Tensors of two and more dimensions have rows first, of which there may be any number; one kernel
    serves all of them. Vectors and numbers are parameters of the network, and the kernel is made
    for their sizes and, of numbers, for their values.

    Args:
        function: whose first argument is a tensor of rows. Its result must not depend on how its
            arguments lie in memory.
    """
    compiled = functools.cache(
        lambda: torch.compile(function, dynamic=False)  # numbers of rows are marked below
    )
    known: set[tuple[Any, ...]] = set()

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        rows: Any = args[0]
        if not applies(rows):
            return function(*args, **kwargs)
        kind = tuple(_kind(value) for value in (*args, *kwargs.values()))
        if kind not in known:  # what follows compiles once more
            _mark_rows(args)
            known.add(kind)
        return compiled()(*args, **kwargs)

    return run


def _kind(value: Any) -> Any:
    """What of an argument a kernel is made for: all but how many rows there are."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape[1:] if value.dim() > 1 else value.shape, value.stride()
    return value


def _mark_rows(args: tuple[Any, ...]) -> None:
    """Tell torch that numbers of rows differ from call to call."""
    for value in args:
        if isinstance(value, torch.Tensor) and value.dim() > 1 and len(value) > 1:
            torch._dynamo.mark_dynamic(value, 0)


def compilations() -> int:
    """Graphs that this process has compiled so far."""
    if "torch._dynamo" not in sys.modules:  # which takes two seconds to import
        return 0
    counted: Any = torch._dynamo.utils.counters["stats"]
    return int(counted["unique_graphs"])


def applies(rows: torch.Tensor) -> bool:
    """Whether to run the compiled function.

    Not on one row alone, which would get a kernel of its own: torch takes the sizes 0 and 1 for
    constants.
    """
    exact = torch.are_deterministic_algorithms_enabled()
    return rows.is_cuda and len(rows) > 1 and not exact and _compiles()


@functools.cache
def _compiles() -> bool:
    """Whether this machine can compile for its GPU: Triton, a C compiler, a card young enough."""
    try:
        rows = torch.ones(3, 8, device="cuda")
        torch.compile(_twice, dynamic=False)(rows)
    except Exception as error:  # whatever torch, Triton or the compiler raise for their reasons
        logger.warning(
            "torch.compile does not work here (%s: %s); pointwise functions run step by step, with "
            "the same results and slower. Install a C compiler and the triton of this torch",
            type(error).__name__,
            str(error).strip().splitlines()[0] if str(error).strip() else "no message",
        )
        return False
    return True


def _twice(rows: torch.Tensor) -> torch.Tensor:
    return rows + rows
