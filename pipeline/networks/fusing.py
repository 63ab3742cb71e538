"""Pointwise functions that a GPU runs as one kernel each.

A network between its matrix products is a handful of small functions over rows: a norm with the
residual before it, an activation times a gate. Written in plain torch each step of them is a kernel
that reads and writes all rows; ``torch.compile`` makes one kernel of each function. Everywhere else
(on CPUs, with deterministic kernels, where nothing can be compiled) the plain function runs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar, cast

import torch

from pipeline.networks.refusals import out_of_memory, refused

P = ParamSpec("P")
R = TypeVar("R")

#: Graphs of one kind of call. Two are expected: torch makes another one where numbers of elements
#: need 64 bits. More would mean that each batch compiles anew, which takes a second or two each.
_MOST_GRAPHS: Final = 4


def fused(function: Callable[P, R]) -> Callable[P, R]:
    """A pure function of tensors, compiled for tensors on CUDA.

    Tensors of two and more dimensions have rows first, of which there may be any number; one kernel
    serves all of them. Vectors and numbers are parameters of the network, and the kernel is made
    for their sizes and, of numbers, for their values.

    Args:
        function: whose first argument is a tensor of rows. Its result must not depend on how its
            arguments lie in memory.
    """
    kinds: dict[tuple[Any, ...], _Kind] = {}

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        rows: Any = args[0]
        if not applies(rows):
            return function(*args, **kwargs)
        laid = tuple(_row_by_row(value) for value in args)
        asked = tuple(_kind(value) for value in (*laid, *kwargs.values()))
        if asked not in kinds:
            kinds[asked] = _Kind(function, _told(function, rows))
        result: R = kinds[asked](*laid, **kwargs)
        return result

    return run


class _Kind:
    """A function for calls that one graph serves."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.graphs = 0
        # Torch counts graphs by code object, and from the ninth on runs it step by step without a
        # word: so each kind has a code object of its own.
        self.compiled: Callable[..., Any] | None = torch.compile(_copy(function), dynamic=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.compiled is None:
            return self.function(*args, **kwargs)
        _mark_rows(args)  # in each call, since torch may compile again in any
        before = compilations()
        try:
            result = self.compiled(*args, **kwargs)
        except Exception as error:  # whatever torch, Triton or the compiler raise for their reasons
            if out_of_memory(error):
                raise
            self._give_up(error)
            return self.function(*args, **kwargs)
        self.graphs += compilations() - before
        if self.graphs > _MOST_GRAPHS:
            self._give_up(f"torch compiled it {self.graphs} times")
        return result

    def _give_up(self, why: Exception | str) -> None:
        self.compiled = None
        refused(f"the compiled {self.name}", why, instead="it runs step by step")


def _copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with a code object of its own."""
    plain = cast(FunctionType, function)
    copy = FunctionType(
        plain.__code__.replace(),
        plain.__globals__,
        plain.__name__,
        plain.__defaults__,
        plain.__closure__,
    )
    copy.__kwdefaults__ = plain.__kwdefaults__
    return copy


def _told(function: Callable[..., Any], rows: torch.Tensor) -> str:
    sizes = " x ".join(map(str, rows.shape[1:]))
    return f"{function.__name__} of {str(rows.dtype).removeprefix('torch.')} rows of {sizes}"


def _row_by_row(value: Any) -> Any:
    """A tensor whose rows lie one after the other.

    Where others do, a stride is as large as there are rows, and each number of rows would get a
    graph of its own.
    """
    if isinstance(value, torch.Tensor) and value.dim() > 1:
        first, *others = value.stride()
        if first < max(others):
            return value.contiguous()
    return value


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
        refused(
            "torch.compile",
            error,
            instead="pointwise functions run step by step; a C compiler and the triton of this "
            "torch are needed",
        )
        return False
    return True


def _twice(rows: torch.Tensor) -> torch.Tensor:
    return rows + rows
