"""Which layout a file has, and which column holds its candidates where it is nested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import (
    candidates_hint,
    holds_no_candidate,
    is_list_of_structs,
    is_list_of_texts,
    list_fields,
)
from pipeline.errors import InputContractError

Layout = Literal["long", "nested"]

_OF_CANDIDATES: Final = (
    schema.DOC_ID,
    schema.TITLE,
    schema.TEXT,
    schema.IMAGE,
    schema.FIRST_STAGE_SCORE,
    schema.FIRST_STAGE_RANK,
)


def candidates_column(
    arrow: pa.Schema, explicit: Mapping[str, str], layout: str, source: str
) -> str | None:
    """The column that holds the candidates in the nested layout; None: the layout is long.

    Args:
        arrow: the file's schema.
        explicit: ``our name -> file's name``.
        layout: as configured: auto, long or nested.
        source: the file's path, for errors.

    Raises:
        InputContractError: the layout should be nested, and no column holds candidates.
    """
    if layout == "long":
        return None
    aliases = schema.ALIASES[schema.CANDIDATES]
    names = (explicit[schema.CANDIDATES],) if schema.CANDIDATES in explicit else aliases
    for name in names:
        if name in arrow.names and is_list_of_structs(arrow.field(arrow.names.index(name)).type):
            return name
    for name in names:
        if name in arrow.names and _names_its_items(name, arrow, explicit, layout):
            return name
    for name in names:
        if name in arrow.names and holds_no_candidate(arrow.field(arrow.names.index(name)).type):
            beside = layout == "auto" and bool(_ids(explicit) & set(arrow.names))
            if not beside:
                return name
    if layout == "nested" or schema.CANDIDATES in explicit:
        told = candidates_hint(arrow, names)
        raise InputContractError(
            f"{source}: {told}"
            if told
            else f"{source}: the nested layout needs a list-of-structs column called "
            f"{' or '.join(names)}; columns found: {', '.join(arrow.names)}; map yours with "
            "--set input.columns.candidates=YOUR_COLUMN"
        )
    return None


def _names_its_items(name: str, arrow: pa.Schema, explicit: Mapping[str, str], layout: str) -> bool:
    """Whether a struct of lists, or a list of texts, has something to call its items by."""
    kind = arrow.field(arrow.names.index(name)).type
    by_position = explicit.get(schema.DOC_ID) == schema.POSITION
    if is_list_of_texts(kind):
        return by_position
    fields = {field.name for field in list_fields(kind)}
    if not fields or by_position or explicit.get(schema.DOC_ID) in fields:
        return bool(fields)
    beside = layout == "auto" and bool(_ids(explicit) & set(arrow.names))
    return bool(_ids(explicit) & fields) and not beside


def _ids(explicit: Mapping[str, str]) -> set[str]:
    """Names that a column of document ids may have."""
    return {explicit.get(schema.DOC_ID, schema.DOC_ID), *schema.ALIASES[schema.DOC_ID]}


def candidate_fields(
    arrow: pa.Schema, listed: str, explicit: Mapping[str, str], wanted: Sequence[str]
) -> pa.Schema:
    """The fields of candidates; of lists without items those that are wanted, all null.

    Where candidates are named by their places, :data:`pipeline.schema.POSITION` is a field, too.
    """
    kind = arrow.field(listed).type
    if not holds_no_candidate(kind):
        if pa.types.is_struct(kind):
            fields = list_fields(kind)
        elif is_list_of_structs(kind):
            fields = list(kind.value_type)
        else:
            fields = [pa.field(schema.TEXT, kind.value_type)]
        if explicit.get(schema.DOC_ID) == schema.POSITION:
            fields = [*fields, pa.field(schema.POSITION, pa.string())]
        return pa.schema(fields)
    names = [explicit.get(name, name) for name in (schema.DOC_ID, schema.TEXT)]
    names += [explicit.get(name, name) for name in wanted if name not in arrow.names]
    names += [own for ours, own in explicit.items() if ours in _OF_CANDIDATES]
    return pa.schema([pa.field(name, pa.null()) for name in dict.fromkeys(names)])
