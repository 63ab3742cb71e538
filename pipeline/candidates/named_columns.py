"""The columns of one level of a file: found by explicit name or alias, and checked when found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from shlex import quote
from typing import Literal

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import candidates_hint, id_type
from pipeline.errors import InputContractError
from pipeline.storage.parquet.columns import refuse_extensions, twice_error

Level = Literal["query", "candidate"]


def spelled_otherwise(names: Iterable[str], known: Iterable[str]) -> str | None:
    """The first name that is a known one but for case, ``_``, ``-`` and what is not seen."""
    wanted = set(map(_folded, known))
    return next((name for name in names if _folded(name) in wanted), None)


def shown_name(name: str) -> str:
    """A name for a message, in quotes where blanks and unseen characters are part of it."""
    return name if name.isprintable() and name.strip() == name != "" else ascii(name)


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "_-" and c.isprintable() and c != " ")


class NamedColumns:
    """The columns of one level: explicit names first, then aliases.

    Errors say what was looked for and what is there.
    """

    def __init__(
        self, source: str, explicit: Mapping[str, str], fields: pa.Schema, level: Level,
        listed: str | None, uuids: Collection[tuple[str, str]], from_path: Collection[str] = (),
        aliases: Mapping[str, tuple[str, ...]] = schema.ALIASES,
    ) -> None:  # fmt: skip
        self.source = source
        self.explicit = explicit
        self.fields = fields
        self.level = level
        self._listed = listed
        self._uuids = uuids
        #: Those of the fields that stand in the path of the file.
        self.from_path = frozenset(from_path)
        self._aliases = aliases

    def find(self, name: str) -> str | None:
        """The column that is ours by this name, checked."""
        names = self.fields.names
        if name in self.explicit:
            chosen = self.explicit[name]
            if chosen == schema.POSITION and self._listed is None:
                raise InputContractError(
                    f"{self.source}: input.columns maps '{name}' to '{chosen}', the place in a "
                    "nested list, and there is no column of lists; map a column of ids"
                )
            if chosen not in names:
                raise InputContractError(
                    f"{self.source}: input.columns maps '{name}' to '{chosen}', which is not "
                    f"there; columns found: {', '.join(names)}"
                )
            return self.check(chosen)
        # A folder may be called score=bm25 or topic=news and mean something else.
        own = [alias for alias in self._aliases[name] if alias in names]
        found = next((alias for alias in own if alias not in self.from_path), None)
        return None if found is None else self.check(found)

    def require(self, name: str) -> str:
        """As :meth:`find`; raises :class:`InputContractError` where there is none."""
        found = self.find(name)
        if found is not None:
            return found
        if name in self.from_path:  # by our own name alone, as said in map_columns
            return name
        names = self.fields.names
        if self._listed is None:
            told = candidates_hint(self.fields, schema.ALIASES[schema.CANDIDATES])
            if told:
                raise InputContractError(f"{self.source}: {told}")
        close = spelled_otherwise(names, self._aliases[name])
        own = "YOUR_COLUMN" if close is None else quote(close)
        raise InputContractError(
            f"{self.source}: missing column '{name}' (also accepted: "
            f"{', '.join(self._aliases[name][1:]) or 'no alias'}); columns found: "
            f"{', '.join(map(shown_name, names)) or 'none'}; "
            f"{'map yours' if close is None else 'names are taken as they are spelled: map it'} "
            f"with --set input.columns.{name}={own}"
        )

    def check(self, column: str) -> str:
        """Refuse a name that stands twice, or a column of an extension type."""
        if self.fields.names.count(column) > 1:
            raise twice_error(self.source, column)
        refuse_extensions(self.fields.field(column), self.source)
        return column

    def note(self, name: str, column: str) -> str:
        """What a message says of a column that was taken because of its name."""
        if column == name or name in self.explicit:
            return ""
        return (
            f"; '{column}' was taken as {name} by its alias: map another column with "
            f"--set input.columns.{name}=COLUMN, or rename this one"
        )

    def is_uuid(self, column: str) -> bool:
        """Whether a column holds UUIDs in 16 bytes."""
        top = column if self.level == "query" or self._listed is None else self._listed
        kind = self.fields.field(column).type
        return (top, column) in self._uuids and kind == pa.binary(16)

    def uuids(self) -> frozenset[tuple[Level, str]]:
        """Columns of UUIDs, each with its level."""
        if not self._uuids:
            return frozenset()
        times = Counter(self.fields.names)
        found = [name for name, count in times.items() if count == 1 and self.is_uuid(name)]
        levels: tuple[Level, ...] = (self.level,)
        if self._listed is None:
            levels = ("query", "candidate")  # the columns of the long layout are both
        return frozenset((level, name) for level in levels for name in found)

    def id_type(self, name: str, column: str) -> pa.DataType:
        """Type of the ids of a column in the output."""
        return id_type(
            self.fields.field(column), self.source, self.note(name, column),
            uuid=self.is_uuid(column),
        )  # fmt: skip
