"""A unit's files in other formats than Parquet, and how they are known to be whole.

::

    <format>/unit-<unit><suffix>       such as trec/unit-….trec

A text has no place for a seal, so the Parquet file that closes the unit names each with its size
and sha256. It is sealed itself and written last, when all of these are there, so a unit that is
committed has them all, and none needs a further file that could be lost or disagree. Files of two
scorings of a unit cannot be mixed up unnoticed either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline.outputs import finding

#: What an entry holds, and of which type, as the manifest lists it.
_ENTRY: Final = {"key": str, "size": int, "rows": int, "sha256": str}

#: Key of such a file below the run's folder; the unit is its second group.
KEY: Final = re.compile(r"([a-z][a-z0-9_]*)/unit-([0-9a-f]{24})((?:\.[a-z0-9]+)+)")


@dataclass(frozen=True, kw_only=True)
class FormatFile:
    """One file of a unit.

    Attributes:
        key: its path below the run's folder.
        data: its content.
        rows: ranked rows that it holds.
    """

    key: str
    data: bytes
    rows: int

    def entry(self) -> dict[str, Any]:
        """How the closing file and the manifest list it."""
        digest = hashlib.sha256(self.data).hexdigest()
        return {"key": self.key, "size": len(self.data), "rows": self.rows, "sha256": digest}


def format_files(
    formats: Iterable[str], unit: str, ranked: pa.Table, about: Mapping[str, str]
) -> list[FormatFile]:
    """A unit's files of every format but Parquet, in the order of the formats.

    Args:
        formats: ``output.formats``.
        unit: the unit's name.
        ranked: its ranked rows.
        about: what every file says about itself.

    Raises:
        InputContractError: a format cannot hold a value; names both.
    """
    made = []
    for name, sink in finding.find_all(formats).items():
        held = sink.held(ranked)
        key = f"{name}/unit-{unit}{sink.suffix}"
        made.append(FormatFile(key=key, data=sink.file(held, about), rows=held.num_rows))
    return made


def checked_entries(entries: Any, unit: str) -> list[dict[str, Any]]:
    """Entries as a closing file lists them.

    Raises:
        ValueError: they are not what :meth:`FormatFile.entry` makes for this unit.
    """
    if not isinstance(entries, list):
        raise ValueError("not the counts of a unit: its formats are no list")
    for entry in entries:
        if (
            not isinstance(entry, dict)
            or {name: type(value) for name, value in entry.items()} != _ENTRY
            or min(entry["size"], entry["rows"]) < 0
            or (found := KEY.fullmatch(entry["key"])) is None
            or found[2] != unit
            or re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) is None
        ):
            raise ValueError("not the counts of a unit: a file of another format is no such file")
    return entries
