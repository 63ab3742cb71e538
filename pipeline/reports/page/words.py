"""How a page writes numbers, times and texts from outside."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from markupsafe import Markup, escape

from pipeline.plain_text import redacted, visible
from pipeline.plurals import agreeing, counted

NOTHING: Final = "–"

#: Characters of a text from outside that a page shows at once, and when it is unfolded.
_SHORT: Final = 160
_LONG: Final = 4_000

_SPACE: Final = re.compile(r"\s+")

_UNITS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


def plain(value: object) -> str:
    """Text from outside on one line: no secret in it, and nothing that acts or turns the text."""
    return visible(redacted(_SPACE.sub(" ", str(value))))


def shown(value: object, most: int = _SHORT) -> Markup:
    """Text from outside as HTML, isolated from the direction of what stands around it.

    A long one is cut, and can be unfolded up to 4,000 characters; what is longer says so.
    """
    if value is None:
        return Markup(NOTHING)
    text = plain(value)
    if len(text) <= most:
        return Markup("<bdi>{}</bdi>").format(text)
    rest = text[most:_LONG]
    left_out = len(text) - most - len(rest)
    more = f" … and {left_out:,} more characters" if left_out else ""
    return Markup(
        '<details class="cut"><summary><bdi>{}</bdi>…</summary><bdi>…{}</bdi>{}</details>'
    ).format(text[:most], rest, more)


def short(value: object, most: int = 60) -> Markup:
    """As :func:`shown`, where nothing can be unfolded: ids, names, headings."""
    if value is None:
        return Markup(NOTHING)
    text = plain(value)
    if len(text) > most:
        text = f"{text[: most - 12]}…{text[-10:]}"
    return Markup("<bdi>{}</bdi>").format(text)


def block(value: str, most: int = _LONG) -> Markup:
    """Text of several lines from outside, for a ``pre``; of a long one its end, which says most."""
    text = visible(redacted(value), keep="\n")
    left_out = len(text) - most
    return escape(text if left_out <= 0 else f"({left_out:,} characters) …{text[-most:]}")


def count(value: float | None) -> str:
    """A whole number: 12,345."""
    return NOTHING if value is None else f"{round(value):,}"


def brief(value: float | None) -> str:
    """A number of three digits or so: 0.123, 12.3, 4,567, 12.3 k."""
    if value is None:
        return NOTHING
    for size, unit in _UNITS:
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:,.3g} {unit}" if abs(scaled) < 1000 else f"{scaled:,.0f} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def share(value: float | None) -> str:
    """A share as per cent; one that is not quite nothing, or not quite all, is not written so."""
    if value is None:
        return NOTHING
    if 0 < value < 0.001:
        return "under 0.1 %"
    if 0.999 < value < 1:
        return "over 99.9 %"
    return f"{value:.1%}".replace("%", " %").replace(".0 %", " %")


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h} h"
    if hours:
        return f"{hours} h {m:02d} min"
    return f"{minutes} min {s:02d} s" if minutes else f"{s} s"


def moment(epoch: float | None) -> str:
    """A time by UTC."""
    if epoch is None:
        return NOTHING
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))


def size(number: float | None) -> str:
    """Bytes: 1.2 GiB."""
    if number is None:
        return NOTHING
    value = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def signed(value: float | None, digits: int = 4) -> str:
    """A change, with its sign; a true minus, which is as wide as a plus."""
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", "\u2212")


FILTERS: Final[dict[str, Any]] = {
    "shown": shown,
    "short": short,
    "block": block,
    "count": count,
    "counted": counted,
    "agreeing": agreeing,
    "brief": brief,
    "share": share,
    "duration": duration,
    "moment": moment,
    "size": size,
    "signed": signed,
}
