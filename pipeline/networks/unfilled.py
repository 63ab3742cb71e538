"""Modules whose parameters wait for a checkpoint, made without initial weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from torch import nn

#: Modules with parameters that our networks are made of.
_WITH_PARAMETERS: Final[tuple[Any, ...]] = (nn.Embedding, nn.LayerNorm, nn.Linear)


#: Held while a network is made. How parameters are filled, and in which precision, is a setting of
#: the process: of two threads that load models, one would put back what the other had set.
MAKING: Final = threading.RLock()


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules that are made while the body runs hold whatever the memory held before.

    Threads take turns.

    On the device ``meta`` they could be made without initial weights, too, but there torch
    initialises through its reference implementations, whose import takes two seconds of a CPU.
    """

    def leave(_: nn.Module) -> None:
        """In place of filling parameters."""

    with MAKING:
        before = [kind.reset_parameters for kind in _WITH_PARAMETERS]
        for kind in _WITH_PARAMETERS:
            kind.reset_parameters = leave
        try:
            yield
        finally:
            for kind, fill in zip(_WITH_PARAMETERS, before, strict=True):
                kind.reset_parameters = fill
