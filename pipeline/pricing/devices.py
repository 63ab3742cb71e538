"""Names of devices: one GPU is called differently by its driver, by Ray and by people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Stands for replicas that score on CPU.
CPU: Final = "cpu"

_SIZE: Final = re.compile(r"(\d+)G(IB)?")


def words(name: str) -> frozenset[str]:
    """The parts of a device's name by which it is told from others: ``{"A100", "80GB", ...}``."""
    parts = re.split(r"[^A-Z0-9.]+", name.upper())
    return frozenset(_SIZE.sub(r"\1GB", part) if _SIZE.fullmatch(part) else part for part in parts
                     if part)  # fmt: skip


def nearest_type(device: str, known: Iterable[str]) -> str | None:
    """The type among ``known`` that a device is of: all words of the type are in its name.

    Of several the one with most words, so that ``A100-80GB`` goes before ``A100``. A slice of a GPU
    (MIG) is not of the whole GPU's type.

    Args:
        device: such as ``NVIDIA A100-SXM4-80GB`` (NVML, torch), ``A100-80G`` (Ray) or ``A100``.
        known: names of types.
    """
    own = words(device)
    fitting = [
        name for name in known
        if (parts := words(name)) and parts <= own and ("MIG" in own) == ("MIG" in parts)
    ]  # fmt: skip
    return max(fitting, key=lambda name: (len(words(name)), name), default=None)
