"""Which columns of an input are taken for which of ours, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.config import JobConfig
from pipeline.storage.parquet import read_footer


def column_facts(config: JobConfig, source: Input) -> dict[str, Any]:
    """What the columns of the first file that has rows are taken for.

    Returns:
        ``columns``, a list of name (ours), column (its own), level, found_by and type;
        ``unused_columns``, the names of the others.
    """
    columns = source.columns
    first = next(file for file in source.files if file.rows)
    arrow = read_footer(first.identity).schema
    types = {field.name: field.type for field in arrow}
    inner = types
    taken: list[tuple[str, str, str]] = [*_named(columns.query, "query")]
    if columns.candidates is not None:
        taken.append((schema.CANDIDATES, columns.candidates, "query"))
        items = types[columns.candidates]
        inner = {field.name: field.type for field in _fields(items)}
    taken += _named(columns.candidate, "candidate")
    taken += [(_of_text(own), own, "candidate") for own in columns.text]
    taken += [(own, own, level) for own, level in columns.passed.items()]
    known = {"query": types, "candidate": inner}
    uuids = {name for _, name in columns.uuids}
    return {
        "columns": [
            {
                "name": ours,
                "column": own,
                "level": level,
                "found_by": _found_by(config, ours, own),
                "type": "uuid" if own in uuids else str(known[level].get(own, "null")),
            }
            for ours, own, level in taken
        ],
        "unused_columns": [name for name in arrow.names if name not in columns.read_columns()],
    }


def _named(mapping: Mapping[str, str], level: str) -> list[tuple[str, str, str]]:
    return [(ours, own, level) for ours, own in mapping.items()]


def _fields(items: pa.DataType) -> list[pa.Field]:
    """The fields of the candidates in a list column; none where no list has an item."""
    kind = items.value_type if items.num_fields == 1 else items
    return [kind.field(place) for place in range(kind.num_fields)]


def _of_text(column: str) -> str:
    return schema.TITLE if column in schema.ALIASES[schema.TITLE] else schema.TEXT


def _found_by(config: JobConfig, ours: str, own: str) -> str:
    """name, alias, or the setting that says so."""
    if config.input.columns.get(ours) == own:
        return "input.columns"
    if ours == own:
        return "name"
    return "alias" if own in schema.ALIASES.get(ours, ()) else "input.text_columns"
