"""``{date}`` in the paths of a nightly job: where the input of one night lies."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

#: ``{date}``, or ``{date:FORMAT}`` with a format of :meth:`datetime.date.strftime`.
_PLACE: Final = re.compile(r"\{date(?::([^{}]*))?\}")


def names_date(path: str) -> bool:
    """Whether a path has a place for the date of the night."""
    return _PLACE.search(path) is not None


def with_date(path: str, night: date) -> str:
    """``path`` with the date in the place of every ``{date}``.

    ``{date}`` is ISO 8601 (2026-01-31); ``{date:%Y/%m/%d}`` and the like are formats of
    :meth:`datetime.date.strftime`. Whatever else stands in braces stays as it is.
    """
    return _PLACE.sub(lambda found: night.strftime(found[1] or "%Y-%m-%d"), path)
