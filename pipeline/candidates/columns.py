"""Which columns of a file are which of ours: explicit mapping first, then known aliases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import (
    carried_type,
    require_image,
    require_number,
    require_text,
)
from pipeline.candidates.layouts import Layout, candidate_fields, candidates_column
from pipeline.candidates.named_columns import Level, NamedColumns
from pipeline.candidates.partitions import Partitions, with_partitions
from pipeline.errors import ConfigurationError, InputContractError

#: Names that no column of an input can have in the output.
_OWN: Final = (
    *schema.RANKED_COLUMNS,
    *schema.TOKEN_COLUMNS,
    *schema.ADDED_COLUMNS,
    schema.REUSED_SCORE,
)


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How one file's columns are read.

    Attributes:
        layout: ``long`` (a row per candidate) or ``nested`` (a row per query).
        query: our query-level name to the file's column; query_id, query, and query_image.
        candidate: our candidate-level name to the file's column or struct field.
        candidates: the list column of the nested layout.
        text: columns or fields joined into the scored text, in order.
        passed: pass-through columns, each with the level it was found at.
        query_id: type of query ids in the output; null where the file holds none.
        doc_id: type of document ids in the output; null likewise.
        carried: types of images and pass-through columns, by our names.
        uuids: columns of UUIDs in 16 bytes, each with its level.
        partitions: those of all these columns that stand in the file's path.
    """

    layout: Layout
    query: Mapping[str, str]
    candidate: Mapping[str, str]
    candidates: str | None
    text: tuple[str, ...]
    passed: Mapping[str, Level]
    query_id: pa.DataType
    doc_id: pa.DataType
    carried: Mapping[str, pa.DataType] = field(default_factory=dict)
    uuids: frozenset[tuple[Level, str]] = frozenset()
    partitions: frozenset[str] = frozenset()

    def read_columns(self) -> list[str]:
        """Top-level columns that are stored in the file and that a reader needs."""
        wanted = [*self.query.values()]
        wanted += [name for name, level in self.passed.items() if level == "query"]
        if self.candidates is not None:
            wanted.append(self.candidates)
        else:
            wanted += [*self.candidate.values(), *self.text]
            wanted += [name for name, level in self.passed.items() if level == "candidate"]
        return [name for name in dict.fromkeys(wanted) if name not in self.partitions]


def map_columns(
    arrow: pa.Schema,
    *,
    source: str,
    layout: Literal["auto", "long", "nested"] = "auto",
    columns: Mapping[str, str] | None = None,
    text_columns: Sequence[str] | None = None,
    pass_through: Sequence[str] = (),
    uuids: Collection[tuple[str, str]] = (),
    partitions: Partitions | None = None,
    staged: bool = False,
) -> ColumnMap:
    """Find our columns in a file's schema.

    Args:
        arrow: the file's schema.
        source: the file's path, for errors.
        layout: as configured; ``auto`` is nested where a list-of-structs column is found.
        columns: explicit ``our name -> file's name`` mapping; it wins over aliases.
        text_columns: columns joined into the text, our names or the file's; None is title, where
            there is one, and text, which only an image column makes dispensable.
        pass_through: columns copied to the output.
        uuids: top-level name and own name of each column of UUIDs in 16 bytes.
        partitions: columns of the file's path. They are found by an explicit name, or where
            something that must be there is called like them, and never by an alias.
        staged: whether the file is of a staged copy, which says of rows why they cannot be scored;
            in any other file columns of these names mean nothing.

    Raises:
        ConfigurationError: ``columns`` names something that is not ours.
        InputContractError: a required column is missing, stands twice, or is of a type that cannot
            be used.
    """
    explicit = dict(columns or {})
    unknown = sorted(set(explicit) - set(schema.ALIASES))
    if unknown:
        raise ConfigurationError(
            f"input.columns: unknown column '{unknown[0]}'; known: {', '.join(schema.ALIASES)}"
        )
    listed = candidates_column(arrow, explicit, layout, source)
    from_path = set(partitions or ()) - set(arrow.names)
    arrow = with_partitions(arrow, partitions or {})
    outer = NamedColumns(source, explicit, arrow, "query", listed, uuids, from_path)
    inner = outer
    if listed is not None:
        outer.check(listed)
        fields = candidate_fields(arrow, listed, explicit, [*(text_columns or ()), *pass_through])
        from_path -= set(fields.names)
        fields = with_partitions(fields, dict.fromkeys(from_path))
        inner = NamedColumns(source, explicit, fields, "candidate", listed, uuids, from_path)
    query = _query_columns(outer)
    candidate = {schema.DOC_ID: inner.require(schema.DOC_ID)}
    for name in (schema.FIRST_STAGE_SCORE, schema.FIRST_STAGE_RANK, schema.IMAGE):
        found = inner.find(name)
        if found is not None:
            candidate[name] = found
            require = require_image if name == schema.IMAGE else require_number
            require(inner.fields.field(found), source, inner.note(name, found))
    if staged:
        candidate |= {name: inner.check(name) for name in (schema.REASON, schema.MESSAGE)}
    text = _text_columns(inner, text_columns, has_image=schema.IMAGE in candidate)
    passed = _passed(pass_through, outer, inner)
    used = {*query.values(), *candidate.values(), *text, *passed}
    return ColumnMap(
        layout="long" if listed is None else "nested",
        query=query,
        candidate=candidate,
        candidates=listed,
        text=text,
        passed=passed,
        query_id=outer.id_type(schema.QUERY_ID, query[schema.QUERY_ID]),
        doc_id=inner.id_type(schema.DOC_ID, candidate[schema.DOC_ID]),
        carried=_carried(query, candidate, passed, outer, inner),
        uuids=outer.uuids() | inner.uuids(),
        partitions=frozenset(used & (outer.from_path | inner.from_path)),
    )


def _query_columns(outer: NamedColumns) -> dict[str, str]:
    """query_id and query; only a column of query images makes the text dispensable."""
    found = {schema.QUERY_ID: outer.require(schema.QUERY_ID)}
    image = outer.find(schema.QUERY_IMAGE)
    if image is not None:
        found[schema.QUERY_IMAGE] = image
        note = outer.note(schema.QUERY_IMAGE, image)
        require_image(outer.fields.field(image), outer.source, note)
    if image is None or outer.find(schema.QUERY) is not None:
        query = found[schema.QUERY] = outer.require(schema.QUERY)
        if not outer.is_uuid(query):
            note = outer.note(schema.QUERY, query)
            require_text(outer.fields.field(query), outer.source, note)
    return found


def _text_columns(
    inner: NamedColumns, wanted: Sequence[str] | None, *, has_image: bool
) -> tuple[str, ...]:
    if wanted is None:
        needed = () if has_image else (schema.TEXT,)
        wanted = [
            name
            for name in (schema.TITLE, schema.TEXT)
            if name in needed or inner.find(name) is not None
        ]
    names, present = [], inner.fields.names
    for name in wanted:
        if (name in schema.ALIASES and name not in present) or name in inner.explicit:
            names.append(inner.require(name))
        elif name in present:
            names.append(inner.check(name))
        else:
            raise InputContractError(
                f"{inner.source}: input.text_columns names '{name}', which is not there; "
                f"columns found: {', '.join(present)}"
            )
    for name in names:
        if not inner.is_uuid(name):
            require_text(inner.fields.field(name), inner.source)
    return tuple(names)


def _passed(wanted: Sequence[str], outer: NamedColumns, inner: NamedColumns) -> dict[str, Level]:
    passed: dict[str, Level] = {}
    for name in wanted:
        if name in _OWN:
            raise ConfigurationError(
                f"output.columns: '{name}' is written by the pipeline itself; remove it"
            )
        if name in inner.fields.names:
            inner.check(name)
            passed[name] = "candidate"
        elif name in outer.fields.names:
            outer.check(name)
            passed[name] = "query"
        else:
            found = ", ".join(dict.fromkeys([*outer.fields.names, *inner.fields.names]))
            raise InputContractError(
                f"{outer.source}: output.columns names '{name}', which is not there; columns "
                f"found: {found}"
            )
    return passed


def _carried(
    query: Mapping[str, str],
    candidate: Mapping[str, str],
    passed: Mapping[str, Level],
    outer: NamedColumns,
    inner: NamedColumns,
) -> dict[str, pa.DataType]:
    carried = {}
    for ours, mapping, columns in (
        (schema.QUERY_IMAGE, query, outer),
        (schema.IMAGE, candidate, inner),
    ):
        if ours in mapping:
            carried[ours] = carried_type(columns.fields.field(mapping[ours]))
    for name, level in passed.items():
        columns = outer if level == "query" else inner
        kind = columns.fields.field(name)
        carried[name] = carried_type(kind, uuid=columns.is_uuid(name))
    return carried
