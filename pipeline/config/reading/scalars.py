"""Numbers and booleans as they are written; what YAML 1.1 would make of other words stays text."""

from __future__ import annotations

import re
from typing import Any, Final

#: Digits of a number; Python itself refuses 4,300.
_LONGEST: Final = 400
_DECIMAL: Final = re.compile(r"[+-]?\d[\d_]*")
_NUMBER: Final = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}


def read_scalar(text: str, kinds: tuple[Any, ...]) -> Any:
    """A number or boolean where the kinds take one, else the text.

    Where anything goes, what YAML 1.1 reads differently from what is written stays text.

    Args:
        text: as written, without quotes.
        kinds: what the setting takes, see
            :func:`pipeline.config.reading.setting_types.alternatives`.
    """
    free = not any(kind in (int, float, bool) for kind in kinds)
    if (free or bool in kinds) and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if free:
        return _plain_number(text)
    if int in kinds and re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if (int in kinds or float in kinds) and _NUMBER.fullmatch(text) and len(text) < _LONGEST:
        return _number(text, whole=int in kinds)
    if float in kinds and text.lower().lstrip("+-") in (".inf", ".nan"):
        return float(text.replace(".", "", 1))
    return text


def _number(text: str, *, whole: bool) -> Any:
    try:
        if whole and _DECIMAL.fullmatch(text):
            return int(text)
        number = float(text)
    except ValueError:  # an underscore at a place where Python takes none
        return text
    return int(number) if whole and number.is_integer() else number


def _plain_number(text: str) -> Any:
    if re.fullmatch(r"[+-]?(0|[1-9]\d*)", text) and len(text) < _LONGEST:
        return int(text)
    if re.fullmatch(r"[+-]?(0|[1-9]\d*)\.\d+([eE][+-]?\d+)?", text):
        return float(text)
    return text
