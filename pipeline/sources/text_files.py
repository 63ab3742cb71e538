"""Text files of any format: opened once for their columns, then read a range of bytes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.conditions import Conditions, columns_of, matching
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.fields import split_block
from pipeline.sources.json_rows import (
    JsonColumns,
    Kind,
    json_rows,
    sample_schema,
    scalars_as_text,
)
from pipeline.sources.kinds import BOM, SPOKEN, Format, first_lines, shown
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.roles import Role, RoleColumns, map_role, unseen_content
from pipeline.sources.streams import MOST_LINE_BYTES, Block, Head, line_blocks
from pipeline.sources.text_layouts import TextLayout, text_layout
from pipeline.storage.files import FileIdentity

_NO_FIELDS: Final = TextLayout(names=(), first=0, expected="an object")
_NO_OBJECT: Final = JsonColumns(outer={})
_TOO_LONG: Final = f"more than {MOST_LINE_BYTES >> 20} MiB, which no line may have"


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """How a text file is read.

    Attributes:
        format: trec, tsv, csv or jsonl.
        compression: how it is compressed; None: not at all.
        expansion: bytes of content per stored byte, about.
        layout: its fields; of JSON lines there is none.
        json: what is taken of an object; of other formats nothing is.
    """

    format: Format
    compression: str | None
    expansion: float
    layout: TextLayout = _NO_FIELDS
    json: JsonColumns = _NO_OBJECT

    @property
    def whole(self) -> bool:
        """Whether it can only be read from the beginning to the end."""
        return self.compression is not None or self.format == "csv"

    @property
    def unit(self) -> str:
        """What places of rows count."""
        return "record" if self.format == "csv" else "byte"


def open_text(
    kind: Format, role: Role, head: Head, *, path: str, config: InputConfig,
    pass_through: tuple[str, ...], conditions: Conditions,
) -> tuple[TextFile, RoleColumns]:  # fmt: skip
    """Find out how a text file is read.

    Raises:
        InputContractError: a column is missing, or none of the first lines can be read.
    """
    if kind == "jsonl":
        arrow = sample_schema([_sample(head)])
        if not arrow.names:
            raise _unreadable(path, kind, head, "no JSON object")
        file = TextFile(format=kind, compression=head.compression, expansion=head.expansion)
    else:
        layout = text_layout(kind, role, head.data, path=path, config=config)
        arrow = pa.schema([(name, pa.string()) for name in layout.names])
        file = TextFile(
            format=kind, compression=head.compression, expansion=head.expansion, layout=layout
        )
    missing = [name for name in columns_of(conditions) if name not in arrow.names]
    if missing:
        raise InputContractError(
            f"{path}: input.filter names '{missing[0]}', which is not there; columns found: "
            f"{', '.join(arrow.names)}"
        )
    columns = map_role(
        role, scalars_as_text(arrow) if kind == "jsonl" else arrow,
        path=path, config=config, pass_through=pass_through,
    )  # fmt: skip
    ids = {name: pa.string() for name in (schema.QUERY_ID, schema.DOC_ID) if name in columns.types}
    columns = replace(columns, types={**columns.types, **ids})
    if kind == "jsonl":
        json = _json_columns(columns, arrow, conditions, config)
        columns = replace(columns, types={**columns.types, **_copied(columns, json)})
        file = replace(file, json=json)
    _refuse_unreadable(file, head, path)
    return file, columns


def text_rows(
    file: FileIdentity, text: TextFile, start: int, stop: int, conditions: Conditions,
    *, max_expansion: float,
) -> Iterator[RawRows]:  # fmt: skip
    """The rows of the lines that begin in bytes ``[start, stop)``; of a whole file all of them.

    Raises:
        InputContractError: the file is another version, or is compressed and damaged.
    """
    begin = start if text.format == "csv" else max(start, text.layout.first)
    if text.whole:
        begin, stop = 0, file.size
    if begin >= stop:
        return
    blocks = line_blocks(file, text.compression, max_expansion, begin, stop)
    for raw in _parsed(text, blocks):
        if conditions:
            yield raw.only(matching(conditions, raw.columns, file.path))
        else:
            yield raw


def _parsed(text: TextFile, blocks: Iterator[Block]) -> Iterator[RawRows]:
    if text.format == "csv":
        yield from csv_rows(blocks, text.layout.names, expected=text.layout.expected)
        return
    for block in blocks:
        if block.data is None:
            yield _too_long(text, block.offset)
        elif text.format == "jsonl":
            yield json_rows(block, text.json)
        else:
            yield _split(text, block)


def _split(text: TextFile, block: Block) -> RawRows:
    data, offset = block.data or b"", block.offset
    if offset < text.layout.first:  # a compressed file is read from its header on
        data, offset = data[text.layout.first - offset :], text.layout.first
    return split_block(
        data, offset, text.layout.names, tabs=text.format == "tsv", expected=text.layout.expected
    )


def _too_long(text: TextFile, offset: int) -> RawRows:
    """The one row of a line that was not held in memory."""
    nothing = _split(text, Block(offset=offset, data=b"\n"))
    if text.format == "jsonl":
        nothing = json_rows(Block(offset=offset, data=b""), text.json)
    return RawRows(
        columns={name: pa.nulls(1, values.type) for name, values in nothing.columns.items()},
        rows=np.array([offset]), items=np.zeros(1, dtype=np.int64), faults={0: _TOO_LONG},
    )  # fmt: skip


def _json_columns(
    columns: RoleColumns, arrow: pa.Schema, conditions: Conditions, config: InputConfig
) -> JsonColumns:
    inner = arrow
    if columns.listed is not None and columns.inner:
        kind = arrow.field(columns.listed).type
        inner = pa.schema(list(kind.value_type) if pa.types.is_struct(kind.value_type) else [])
    outer: dict[str, Kind] = {name: _type(arrow, name) for name in columns_of(conditions)}
    outer |= _kinds(columns, columns.outer, arrow)
    unseen = unseen_content(columns, config)
    in_items = unseen["candidate"] if columns.listed is not None else frozenset[str]()
    return JsonColumns(
        outer=outer,
        listed=columns.listed,
        inner=_kinds(columns, columns.inner, inner),
        unseen=(unseen["query"] | unseen["candidate"] - in_items) - set(arrow.names),
        unseen_inner=in_items - set(inner.names),
    )


def _copied(columns: RoleColumns, json: JsonColumns) -> dict[str, pa.DataType]:
    """Types of the columns that are copied as they are, by our names."""
    kinds = {name: json.outer[own] for name, own in columns.outer.items()}
    kinds |= {name: json.inner[own] for name, own in columns.inner.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, pa.DataType)}


def _kinds(columns: RoleColumns, own: Mapping[str, str], arrow: pa.Schema) -> dict[str, Kind]:
    """What the values of some columns become, by the file's names."""
    found: dict[str, Kind] = {}
    for ours, name in own.items():
        if ours in (schema.QUERY_ID, schema.DOC_ID):
            found[name] = "id"
        elif ours in (schema.FIRST_STAGE_SCORE, schema.FIRST_STAGE_RANK):
            found[name] = "number"
        elif ours in columns.texts or ours in (schema.IMAGE, schema.QUERY_IMAGE):
            found[name] = "text"
        else:
            found.setdefault(name, _type(arrow, name))
    return found


def _type(arrow: pa.Schema, name: str) -> pa.DataType:
    kind = arrow.field(name).type if name in arrow.names else pa.string()
    return pa.string() if kind.num_fields else kind


def _sample(head: Head) -> Block:
    """Whole lines of the beginning; one that is longer, as far as it goes."""
    data = head.data.removeprefix(BOM)
    cut = data.rfind(b"\n") + 1
    return Block(offset=len(head.data) - len(data), data=data[:cut] or data)


def _refuse_unreadable(file: TextFile, head: Head, path: str) -> None:
    """Refuse a file none of whose first lines is a row.

    Raises:
        InputContractError: shows the first line, and says what is wrong with it.
    """
    told: str | None = None
    for raw in _parsed(file, iter([_sample(head)])):
        if len(raw) > len(raw.faults):
            return
        told = told or next(iter(raw.faults.values()), None)
    if told is not None:
        raise _unreadable(path, file.format, head, told)


def _unreadable(path: str, kind: Format, head: Head, told: str) -> InputContractError:
    return InputContractError(
        f"{path}: read as {SPOKEN[kind]}, but none of its first lines is a row ({told}): "
        f"{shown(first_lines(head.data)[0])}; write it again, or set input.format"
    )
