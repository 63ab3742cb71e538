"""What this machine's processor is called, and which instructions for low precision it has."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")

#: Instructions that multiply bfloat16, as Linux names them: of x86, and of Arm.
BFLOAT16: Final = ("avx512_bf16", "amx_bf16", "bf16")

#: Instructions that add up products of 8-bit integers without cutting off.
INT8: Final = ("avx512_vnni", "avx_vnni", "amx_int8")


def name() -> str:
    """The processor's name, where the system tells it."""
    return _described().get("model name") or platform.processor() or platform.machine()


def model() -> str:
    """Maker, family, model and stepping, as Linux tells them: names may leave out which one."""
    keys = ("vendor_id", "cpu family", "model", "stepping")
    return " ".join(found for found in map(_described().get, keys) if found)


def flags() -> frozenset[str]:
    """What the processor can, in Linux's words; empty on other systems."""
    described = _described()  # `flags` on x86, `Features` on Arm
    return frozenset((described.get("flags") or described.get("Features") or "").split())


def low_precision() -> list[str]:
    """The instructions for bfloat16 and int8 that are there, in the order of the alphabet."""
    return sorted(flags() & {*BFLOAT16, *INT8})


def has_bfloat16() -> bool:
    """Whether products of bfloat16 have instructions of their own."""
    return not flags().isdisjoint(BFLOAT16)


def has_int8() -> bool:
    """Whether sums of products of 8-bit integers are exact."""
    return not flags().isdisjoint(INT8)


def named(instructions: tuple[str, ...]) -> str:
    """Instructions in a sentence."""
    return f"{', '.join(instructions[:-1])} or {instructions[-1]}"


@cache
def _described() -> dict[str, str]:
    """What Linux says of the first processor, by key; empty where it says nothing."""
    if not _CPUINFO.exists():
        return {}
    first = _CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
