"""Values of a checkpoint's JSON files, taken as what they must be or refused by file and key.

Python would make a number of much else: of ``"512"``, of ``true``, of 1.5 with its half cut off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError


def whole_number(
    config: Mapping[str, Any],
    key: str,
    *,
    where: Path,
    default: int | None = None,
    least: int = 1,
) -> int:
    """A count or a size.

    Args:
        config: content of the file.
        key: in it.
        where: the file, for messages.
        default: where the key is absent; None where it must be there.
        least: the smallest value that makes sense.

    Raises:
        ModelError: it is absent, no whole number, or too small.
    """
    value = config.get(key, default)
    if type(value) is not int or value < least:
        raise ModelError(f"{where}: {key} is {value!r}, expected a whole number from {least}")
    return value


def number(
    config: Mapping[str, Any], key: str, *, where: Path, default: float | None = None
) -> float:
    """A positive, finite number.

    Args:
        config: content of the file.
        key: in it.
        where: the file, for messages.
        default: where the key is absent; None where it must be there.

    Raises:
        ModelError: it is absent, or anything else.
    """
    value = config.get(key, default)
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ModelError(f"{where}: {key} is {value!r}, expected a number above 0")
    return float(value)


def yes_or_no(config: Mapping[str, Any], key: str, *, where: Path, default: bool) -> bool:
    """A switch; null counts as absent.

    Raises:
        ModelError: it is neither true nor false.
    """
    value = config.get(key)
    if value is None:
        return default
    if type(value) is not bool:
        raise ModelError(f"{where}: {key} is {value!r}, expected true or false")
    return value


def is_text(value: object) -> bool:
    """Whether a value is text that a tokenizer takes: JSON can hold half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
