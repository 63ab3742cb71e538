"""The licence of a checkpoint, where a file beside it states one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import yaml

#: What stands for a licence that no file states.
UNKNOWN: Final = "unknown: see publisher"

#: The front matter of a model card has a few kilobytes.
_MOST_BYTES: Final = 256 * 2**10

_FRONT_MATTER: Final = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)

#: First words of licences by their SPDX names.
_TEXTS: Final = (
    (re.compile(r"\s*Apache License\s+Version 2\.0"), "Apache-2.0"),
    (re.compile(r"\s*(?:The )?MIT License"), "MIT"),
)


def stated_licence(folder: Path) -> tuple[str, str | None]:
    """A licence and the name of the file that states it.

    README.md counts first (``license`` and, for ``other``, ``license_name`` of its front matter),
    then the first words of LICENSE. What neither says is unknown; nothing is guessed.

    Args:
        folder: of the checkpoint.
    """
    stated = _of_front_matter(_text(folder / "README.md"))
    if stated is not None:
        return stated, "README.md of the checkpoint"
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        text = _text(folder / name)
        if text:
            found = next((spdx for words, spdx in _TEXTS if words.match(text)), None)
            return found or f"see {name} of the checkpoint", f"{name} of the checkpoint"
    return UNKNOWN, None


def _of_front_matter(text: str) -> str | None:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return None
    try:
        data = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    keys = ("license_name", "license") if data.get("license") == "other" else ("license",)
    values = [data[key] for key in keys if isinstance(data.get(key), str) and data[key].strip()]
    return " ".join(values[0].split())[:100] if values else None


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
