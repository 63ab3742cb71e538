"""Numbers with what they count, and their verbs: ``1 unit is``, ``2,000 units are``."""

from __future__ import annotations

from typing import Final

_SINGULAR: Final = {"are": "is", "have": "has", "were": "was"}
_VOWELS: Final = "aeiou"
_HISSING: Final = ("s", "x", "z", "ch", "sh")


def counted(number: float, noun: str) -> str:
    """A number and its noun, in the plural unless it is one of them.

    Args:
        number: whole ones with separators of thousands, whatever their type; others as short as
            they are.
        noun: in the singular; of several words the last one is put in the plural.
    """
    shown = f"{number:,.0f}" if float(number).is_integer() else f"{number:,g}"
    return f"{shown} {noun if number == 1 else _plural(noun)}"


def agreeing(number: float, verb: str) -> str:
    """The verb of so many of a thing, given its plural: ``are``, and ``is`` where there is one."""
    return verb if number != 1 else _SINGULAR.get(verb, f"{verb}s")


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_HISSING) else f"{noun}s"
