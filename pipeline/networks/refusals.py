"""Fast ways of a GPU that could not be taken in this process, and why: for the log and the report.

A kernel that a library, a compiler or the card refuses never fails a run, since plain torch takes
anything. But it is slower, and nobody would know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

logger = logging.getLogger("pipeline")

#: How memory that ran out reads where torch has no class of its own for it.
_OUT_OF_MEMORY: Final = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator",
)

_REFUSED: dict[str, str] = {}


def refused(what: str, why: Exception | str, *, instead: str) -> None:
    """Remember a way that is not taken from here on; said in the log once.

    Args:
        what: kernel or function, and what for.
        why: what was raised, or words for it.
        instead: what runs now.
    """
    if what in _REFUSED:
        return
    reason = _words(why)
    _REFUSED[what] = reason
    logger.warning(
        "%s is not used (%s); %s, with the same results and slower", what, reason, instead
    )


def unless_refused(
    what: str, kernel: Callable[[], T], plain: Callable[[], T], *, instead: str
) -> T:
    """What a kernel gives; what ``plain`` gives where it was refused before, or is now.

    Args:
        what: the kernel, and what for.
        kernel: calls it.
        plain: the same without it.
        instead: what ``plain`` is, in words.
    """
    if what not in _REFUSED:
        try:
            return kernel()
        except Exception as error:  # a compiler's or a library's own classes
            if out_of_memory(error):
                raise
            refused(what, error, instead=instead)
    return plain()


def refusals() -> dict[str, str]:
    """The reason by what was refused, of this process."""
    return dict(_REFUSED)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, which less work at a time may help."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _words(why: Exception | str) -> str:
    if isinstance(why, str):
        return why
    lines = str(why).strip().splitlines()
    return f"{type(why).__name__}: {lines[0] if lines else 'no message'}"
