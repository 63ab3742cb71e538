"""Matplotlib's SVG as markup that may stand in a page which allows neither styles nor scripts.

A policy that allows one known style sheet refuses ``style`` attributes, so what they say becomes
attributes of SVG. Colours become variables of the page's style sheet, so that a picture follows the
reader's light or dark. Names are made unique, for a page holds several pictures.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from io import BytesIO
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG: Final = "http://www.w3.org/2000/svg"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"

#: What pictures are drawn in, and the variable of the style sheet that it stands for.
COLOURS: Final = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "first": "#040404",
    "second": "#050505",
    "good": "#060606",
    "bad": "#070707",
}
_VARIABLES: Final = {colour: f"var(--{name})" for name, colour in COLOURS.items()}

#: Properties that SVG knows as attributes, of those that matplotlib writes.
_KEPT: Final = frozenset(
    {
        "fill", "fill-opacity", "fill-rule", "stroke", "stroke-opacity", "stroke-width",
        "stroke-linecap", "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "opacity",
        "font-size", "font-weight", "text-anchor",
    }
)  # fmt: skip
_FONT: Final = re.compile(r"(?P<size>[\d.]+px)")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")


def as_markup(figure: Figure, *, name: str, says: str) -> Markup:
    """A figure as an ``svg`` element.

    Args:
        figure: drawn in :data:`COLOURS` alone, its texts our own.
        name: of the picture, unique on its page: lower-case letters.
        says: what the picture shows, for readers who do not see it.
    """
    written = BytesIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(written.getvalue())
    _clean(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": "picture", "role": "img", "aria-label": says}
    ET.register_namespace("", _SVG)
    return Markup(ET.tostring(root, encoding="unicode"))


def _clean(element: ET.Element, name: str) -> None:
    for child in list(element):
        local = child.tag.rpartition("}")[2]
        if local in ("metadata", "style"):
            element.remove(child)
        else:
            _clean(child, name)
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "style":
            attributes |= _presentation(value)
        elif key == "id":
            attributes["id"] = f"{name}-{value}"
        elif key == _LINK:
            attributes["href"] = f"#{name}-{value.removeprefix('#')}"
        else:
            attributes[key] = value
    element.attrib.clear()
    for key, value in attributes.items():
        element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", _VARIABLES.get(value, value)))


def _presentation(style: str) -> dict[str, str]:
    """The declarations of a ``style`` attribute as attributes."""
    found: dict[str, str] = {}
    for declaration in style.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":  # of the shorthand only the size is wanted: the page has its own type
            size = _FONT.search(value)
            if size is not None:
                found["font-size"] = size["size"]
        elif key in _KEPT:
            found[key] = value
    return found
