"""Which columns of a file are which of ours, by the role of its source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import (
    carried_type,
    require_image,
    require_number,
    require_text,
)
from pipeline.candidates.layouts import candidate_fields, candidates_column
from pipeline.candidates.named_columns import Level, NamedColumns
from pipeline.candidates.partitions import Partitions, with_partitions
from pipeline.config import InputConfig
from pipeline.errors import ConfigurationError, InputContractError

Role = Literal["candidates", "corpus", "queries"]

#: Ids that only mean one thing in a file of one thing (BEIR, MTEB, Pyserini's JSON).
_BARE_IDS: Final = ("_id", "id")

#: Other tools' names for our columns, by role; those of candidates are in every file the same.
ALIASES: Final[dict[Role, dict[str, tuple[str, ...]]]] = {
    "candidates": schema.ALIASES,
    "corpus": schema.ALIASES | {schema.DOC_ID: (*schema.ALIASES[schema.DOC_ID], *_BARE_IDS)},
    "queries": schema.ALIASES
    | {
        schema.QUERY_ID: (*schema.ALIASES[schema.QUERY_ID], *_BARE_IDS),
        schema.QUERY: (*schema.ALIASES[schema.QUERY], "text", "title"),
        schema.QUERY_IMAGE: (*schema.ALIASES[schema.QUERY_IMAGE], *schema.ALIASES[schema.IMAGE]),
    },
}

_IDS: Final = (schema.QUERY_ID, schema.DOC_ID)


@dataclass(frozen=True, kw_only=True)
class RoleColumns:
    """How one file's columns are read.

    Attributes:
        role: of its source.
        outer: our name to the file's column; of the long layout all of them.
        inner: our name to a field of the listed candidates.
        listed: the column with the candidates of a query; None: a row is one candidate.
        texts: names among ours that hold text.
        types: of ids, images and copied columns, by our names.
        uuids: columns of UUIDs in 16 bytes, each with its level.
        partitions: columns that stand in the path of the file, whether they are read or not.
    """

    role: Role
    outer: Mapping[str, str]
    inner: Mapping[str, str] = field(default_factory=dict)
    listed: str | None = None
    texts: frozenset[str] = frozenset()
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    uuids: frozenset[tuple[Level, str]] = frozenset()
    partitions: Partitions = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Our names of everything that is read."""
        return (*self.outer, *self.inner)

    def key(self, name: str) -> str:
        """Where :class:`~pipeline.sources.raw_rows.RawRows` has what is ours by a name."""
        return self.outer[name] if name in self.outer else f"{self.listed}.{self.inner[name]}"

    def top(self) -> list[str]:
        """The file's columns that are read."""
        listed = [] if self.listed is None else [self.listed]
        return list(dict.fromkeys([*self.outer.values(), *listed]))

    def type_of(self, name: str) -> pa.DataType:
        """The type that values of a name have in a canonical table."""
        if name == schema.FIRST_STAGE_SCORE:
            return pa.float64()
        if name == schema.FIRST_STAGE_RANK:
            return pa.int32()
        kind = pa.string() if name in self.texts else self.types[name]
        return pa.string() if name in _IDS and pa.types.is_null(kind) else kind


def map_role(
    role: Role, arrow: pa.Schema, *, path: str, config: InputConfig,
    pass_through: tuple[str, ...] = (), uuids: Collection[tuple[str, str]] = (),
    partitions: Partitions | None = None,
) -> RoleColumns:  # fmt: skip
    """Find the columns of a role in a file's schema.

    What a corpus or queries of their own say is not read from candidates.

    Args:
        role: of the file.
        arrow: its schema.
        path: for messages.
        config: of the input: columns, text_columns, and whether there are corpus and queries.
        pass_through: columns that are copied to the output, where the file has them.
        uuids: top-level name and own name of each column of UUIDs in 16 bytes.
        partitions: columns that stand in its path and not in itself.

    Raises:
        ConfigurationError: ``input.columns`` names something that is not ours.
        InputContractError: a column is missing, stands twice, or is of a type that cannot be used.
    """
    unknown = sorted(set(config.columns) - set(schema.ALIASES))
    if unknown:
        raise ConfigurationError(
            f"input.columns: unknown column '{unknown[0]}'; known: {', '.join(schema.ALIASES)}"
        )
    listed = None
    if role == "candidates":
        listed = candidates_column(arrow, config.columns, config.layout, path)
    from_path = partitions or {}
    stored, arrow = arrow, with_partitions(arrow, from_path)
    aliases = ALIASES[role]
    outer = NamedColumns(
        path, _explicit(config, arrow, listed), arrow, "query", listed, uuids, from_path, aliases
    )
    inner = outer
    if listed is not None:
        outer.check(listed)
        wanted = [*(config.text_columns or ()), *pass_through]
        fields = candidate_fields(stored, listed, config.columns, wanted)
        explicit = {k: v for k, v in config.columns.items() if v in fields.names}
        inner = NamedColumns(path, explicit, fields, "candidate", listed, uuids, (), aliases)
    found = _Found(outer, inner, config, role)
    for name in pass_through:
        found.copy(name)
    return replace(found.columns(listed), partitions=from_path)


def unseen_content(columns: RoleColumns, config: InputConfig) -> dict[Level, frozenset[str]]:
    """What a model would read of a file if it were there: its names, by level.

    Of columns that may be left out. In a file whose columns are known from its first lines alone,
    further lines may have them.

    Args:
        columns: those that are there.
        config: of the input.
    """
    role = columns.role
    of_query = role == "queries" or (role == "candidates" and config.queries is None)
    of_document = role == "corpus" or (role == "candidates" and config.corpus is None)
    texts = (schema.TITLE, schema.TEXT) if config.text_columns is None else ()
    wanted: dict[Level, tuple[str, ...]] = {
        "query": (schema.QUERY, schema.QUERY_IMAGE) if of_query else (),
        "candidate": (*texts, schema.IMAGE) if of_document else (),
    }
    return {
        level: frozenset(
            alias
            for name in names
            if name not in columns.names
            for alias in (config.columns.get(name), *ALIASES[role][name])
            if alias is not None
        )
        for level, names in wanted.items()
    }


class _Found:
    """Columns as they are found, and checked."""

    def __init__(
        self, outer: NamedColumns, inner: NamedColumns, config: InputConfig, role: Role
    ) -> None:
        self._outer, self._inner, self._config, self._role = outer, inner, config, role
        self._of_query: dict[str, str] = {}
        self._of_document: dict[str, str] = {}
        self._texts: set[str] = set()
        self._types: dict[str, pa.DataType] = {}
        if role != "corpus":
            self._id(schema.QUERY_ID, outer, self._of_query)
        if role == "queries" or (role == "candidates" and config.queries is None):
            self._query()
        if role != "queries":
            self._id(schema.DOC_ID, inner, self._of_document)
        if role == "candidates":
            self._numbers()
        if role == "corpus" or (role == "candidates" and config.corpus is None):
            self._document()

    def copy(self, name: str) -> None:
        """A column of the output, where it is here."""
        if name in self._of_query or name in self._of_document:
            return
        for columns, part in ((self._inner, self._of_document), (self._outer, self._of_query)):
            if name in columns.fields.names:
                part[name] = columns.check(name)
                kind = columns.fields.field(name)
                self._types[name] = carried_type(kind, uuid=columns.is_uuid(name))
                return
        if self._role == "candidates" and not (self._config.corpus or self._config.queries):
            found = dict.fromkeys([*self._outer.fields.names, *self._inner.fields.names])
            raise InputContractError(
                f"{self._outer.source}: output.columns names '{name}', which is not there; columns "
                f"found: {', '.join(found)}"
            )

    def columns(self, listed: str | None) -> RoleColumns:
        """All of them."""
        nested = listed is not None
        return RoleColumns(
            role=self._role,
            outer=self._of_query if nested else {**self._of_query, **self._of_document},
            inner=self._of_document if nested else {},
            listed=listed,
            texts=frozenset(self._texts),
            types=self._types,
            uuids=self._outer.uuids() | self._inner.uuids(),
        )

    def _id(self, name: str, columns: NamedColumns, part: dict[str, str]) -> None:
        part[name] = columns.require(name)
        self._types[name] = columns.id_type(name, part[name])

    def _query(self) -> None:
        self._image(schema.QUERY_IMAGE, self._outer, self._of_query)
        if self._outer.find(schema.QUERY) is not None:
            self._text(schema.QUERY, self._outer, self._of_query)
        elif schema.QUERY_IMAGE not in self._of_query:
            if self._role == "candidates":
                raise self._missing(schema.QUERY, "queries")
            self._outer.require(schema.QUERY)

    def _document(self) -> None:
        self._image(schema.IMAGE, self._inner, self._of_document)
        if self._config.text_columns is None:
            if self._inner.find(schema.TITLE) is not None:
                self._text(schema.TITLE, self._inner, self._of_document)
            if self._inner.find(schema.TEXT) is not None:
                self._text(schema.TEXT, self._inner, self._of_document)
            elif schema.IMAGE not in self._of_document:
                if self._role == "candidates":
                    raise self._missing(schema.TEXT, "corpus")
                self._inner.require(schema.TEXT)
            return
        for name in self._config.text_columns:
            if name in self._inner.fields.names and name not in self._inner.explicit:
                self._as_text(name, self._inner.check(name), self._inner, self._of_document)
            elif name in schema.ALIASES:
                self._text(name, self._inner, self._of_document)
            else:
                raise InputContractError(
                    f"{self._inner.source}: input.text_columns names '{name}', which is not there; "
                    f"columns found: {', '.join(self._inner.fields.names)}"
                )

    def _text(self, name: str, columns: NamedColumns, part: dict[str, str]) -> None:
        self._as_text(name, columns.require(name), columns, part)

    def _as_text(self, name: str, own: str, columns: NamedColumns, part: dict[str, str]) -> None:
        if not columns.is_uuid(own):
            require_text(columns.fields.field(own), columns.source, columns.note(name, own)
                         if name in schema.ALIASES else "")  # fmt: skip
        part[name] = own
        self._texts.add(name)

    def _image(self, name: str, columns: NamedColumns, part: dict[str, str]) -> None:
        own = columns.find(name)
        if own is not None:
            require_image(columns.fields.field(own), columns.source, columns.note(name, own))
            part[name] = own
            self._types[name] = carried_type(columns.fields.field(own))

    def _numbers(self) -> None:
        for name in (schema.FIRST_STAGE_SCORE, schema.FIRST_STAGE_RANK):
            own = self._inner.find(name)
            if own is not None:
                note = self._inner.note(name, own)
                require_number(self._inner.fields.field(own), self._inner.source, note)
                self._of_document[name] = own

    def _missing(self, name: str, role: str) -> InputContractError:
        """The refusal of candidates by reference to nothing."""
        columns = self._inner if name == schema.TEXT else self._outer
        known = ", ".join(columns.explicit.get(name, alias) for alias in schema.ALIASES[name])
        return InputContractError(
            f"{columns.source}: no column '{name}' (also accepted: {known}); columns found: "
            f"{', '.join(columns.fields.names)}. Name the file that has them with --set "
            f"input.{role}=FILE, or map the column with --set input.columns.{name}=YOUR_COLUMN"
        )


def _explicit(config: InputConfig, arrow: pa.Schema, listed: str | None) -> dict[str, str]:
    """The mapping that holds for a file: that of names in it, where there are several sources."""
    alone = config.corpus is None and config.queries is None
    return dict(config.columns) if alone and listed is None else _there(config, arrow)


def _there(config: InputConfig, arrow: pa.Schema) -> dict[str, str]:
    return {
        ours: own for ours, own in config.columns.items()
        if own in arrow.names or ours == schema.CANDIDATES
    }  # fmt: skip
