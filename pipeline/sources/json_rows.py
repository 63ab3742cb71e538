"""JSON lines: an object a line, flat or with a list of candidates inside; integers stay exact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.sources.raw_rows import RawRows
from pipeline.sources.streams import Block

#: What the values of a column become: bytes of a text, of an id or a number as they are written, or
#: values of the type that the first ones have.
Kind: TypeAlias = Literal["text", "id", "number"] | pa.DataType


@dataclass(frozen=True, kw_only=True)
class JsonColumns:
    """What is taken of an object.

    Attributes:
        outer: names at its top, each with what its values become.
        listed: the name of a list of candidates; None: an object is one.
        inner: names in an item of that list, likewise.
        unseen: names at the top that would be read if one of the first objects had them.
        unseen_inner: the same in an item of the list.
    """

    outer: Mapping[str, Kind]
    listed: str | None = None
    inner: Mapping[str, Kind] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    unseen_inner: frozenset[str] = frozenset()


class _NoRowError(Exception):
    """Why an object is no row."""


@dataclass(kw_only=True)
class _Rows:
    outer: dict[str, list[Any]]
    inner: dict[str, list[Any]]
    places: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    bare: list[int] = field(default_factory=list)


def json_rows(block: Block, columns: JsonColumns) -> RawRows:
    """The rows of a block of lines; blank lines are none."""
    found = _Rows(
        outer={name: [] for name in columns.outer}, inner={name: [] for name in columns.inner}
    )
    for offset, line in lines_of(block):
        try:
            _add(found, columns, parsed(line), offset)
        except _NoRowError as error:
            found.faults[len(found.places)] = str(error)
            _append(found, {}, {}, offset, 0)
    return RawRows(
        columns={
            **{name: _array(values, columns.outer[name]) for name, values in found.outer.items()},
            **{
                f"{columns.listed}.{name}": _array(values, columns.inner[name])
                for name, values in found.inner.items()
            },
        },
        rows=np.array(found.places, dtype=np.int64),
        items=np.array(found.items, dtype=np.int64),
        faults=found.faults,
        bare=tuple(found.bare),
    )


def lines_of(block: Block) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, each with its byte in the file."""
    offset, data = block.offset, block.data or b""
    for line in data.split(b"\n"):
        if line.strip():
            yield offset, line
        offset += len(line) + 1


def parsed(line: bytes) -> dict[str, Any]:
    """The object of a line; bytes that are not UTF-8 become surrogates.

    Raises:
        _NoRowError: it is none.
    """
    try:
        value = json.loads(line.decode("utf-8", errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        # The message of a number that is too long for Python advises on its settings.
        told = error.msg if isinstance(error, json.JSONDecodeError) else "nested or long beyond use"
        raise _NoRowError(f"no JSON: {told}") from None
    if not isinstance(value, dict):
        raise _NoRowError("no JSON object")
    return value


def sample_schema(blocks: Sequence[Block]) -> pa.Schema:
    """The columns of the objects in some lines, and their types.

    Whole numbers, numbers and truth values are what they are where all values agree; lists and
    objects in them are such where most values are; everything else is text. So one odd line does
    not decide what all others are.
    """
    found: list[dict[str, Any]] = []
    for block in blocks:
        for _, line in lines_of(block):
            try:
                found.append(parsed(line))
            except _NoRowError:
                continue
    return pa.schema(_fields(found))


def scalars_as_text(arrow: pa.Schema) -> pa.Schema:
    """The same columns, numbers and truth values as text, also in items of lists.

    Whether a value suits the use of its column is seen line by line.
    """
    return pa.schema([pa.field(field.name, _as_text(field.type)) for field in arrow])


def _as_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _as_text(field.type)) for field in kind])
    return kind if pa.types.is_null(kind) else pa.string()


def _fields(objects: list[dict[str, Any]]) -> list[pa.Field]:
    values: dict[str, list[Any]] = {}
    for one in objects:
        for name, value in one.items():
            values.setdefault(name, []).append(value)
    return [pa.field(name, _type_of(found, len(objects))) for name, found in values.items()]


def _type_of(values: list[Any], count: int) -> pa.DataType:
    """The type of a column of which ``count`` objects have some values."""
    present = [value for value in values if value is not None]
    lists = [value for value in present if isinstance(value, list)]
    filled = [value for value in lists if value]
    of_objects = [value for value in filled if any(isinstance(item, dict) for item in value)]
    if 2 * len(lists) > len(present) and 2 * len(of_objects) >= len(filled):
        items = [item for value in of_objects for item in value if isinstance(item, dict)]
        fields = _fields(items)
        return pa.list_(pa.struct(fields) if fields else pa.null())
    if 2 * len(lists) > count:
        return pa.list_(pa.string())
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(abs(value) < 2**63 for value in present):
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _add(found: _Rows, columns: JsonColumns, value: dict[str, Any], offset: int) -> None:
    outer = _taken(value, columns.outer, columns.unseen)
    if columns.listed is None:
        _append(found, outer, {}, offset, 0)
        return
    items = value.get(columns.listed)
    if items is None or items == []:
        found.bare.append(len(found.places))
        _append(found, outer, {}, offset, 0)
        return
    if not isinstance(items, list):
        raise _NoRowError(f"'{columns.listed}' holds no list")
    for number, item in enumerate(items):
        try:
            if not isinstance(item, dict):
                raise _NoRowError(f"an item of '{columns.listed}' is no object")
            inner = _taken(item, columns.inner, columns.unseen_inner)
        except _NoRowError as error:
            found.faults[len(found.places)] = str(error)
            _append(found, {}, {}, offset, number)
        else:
            _append(found, outer, inner, offset, number)


def _append(
    found: _Rows, outer: Mapping[str, Any], inner: Mapping[str, Any], offset: int, item: int
) -> None:
    for part, values in ((found.outer, outer), (found.inner, inner)):
        for name, column in part.items():
            column.append(values.get(name))
    found.places.append(offset)
    found.items.append(item)


def _taken(
    value: Mapping[str, Any], kinds: Mapping[str, Kind], unseen: frozenset[str]
) -> dict[str, Any]:
    if not unseen.isdisjoint(value):
        late = next((name for name in sorted(unseen) if value.get(name) is not None), None)
        if late is not None:
            raise _NoRowError(
                f"'{late}' is here and in none of the first lines, which say what is read; give it "
                "to the first line as well, null where it has none"
            )
    return {name: _checked(name, value.get(name), kind) for name, kind in kinds.items()}


def _checked(name: str, value: Any, kind: Kind) -> Any:
    """A value that its column can hold."""
    if value is None:
        return None
    if not isinstance(kind, str):
        return _carried(name, value, kind)
    if isinstance(value, str):
        return _encoded(value)
    if kind == "id" and type(value) is int:
        return _digits(name, value)
    if kind == "number" and type(value) in (int, float):
        return repr(value).encode() if type(value) is float else _digits(name, value)
    expected = {"text": "text", "id": "text or a whole number", "number": "a number"}[kind]
    raise _NoRowError(f"'{name}' holds {_spoken(value)}, expected {expected}")


def _carried(name: str, value: Any, kind: pa.DataType) -> Any:
    """A value of a column that is copied."""
    if pa.types.is_string(kind):
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _NoRowError(f"'{name}' holds what is not valid UTF-8") from None
        return text
    accepted = {
        pa.bool_(): type(value) is bool,
        pa.int64(): type(value) is int and -(2**63) <= value < 2**63,
        pa.float64(): type(value) is float or (type(value) is int and abs(value) <= 2**53),
    }
    if accepted.get(kind):
        return value
    raise _NoRowError(f"'{name}' holds {_spoken(value)}, but {kind} in the first lines")


def _encoded(value: str) -> bytes:
    """Bytes of a text; not UTF-8 where the file's were not, or where it escapes half characters."""
    try:
        return value.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", errors="surrogatepass")


def _digits(name: str, value: int) -> bytes:
    try:
        return str(value).encode()
    except ValueError:  # more digits than Python turns into text
        raise _NoRowError(f"'{name}' holds a number that is too long") from None


def _spoken(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", str: "text"}
    return names.get(type(value), "a number")


def _array(values: list[Any], kind: Kind) -> pa.Array:
    return pa.array(values, pa.binary() if isinstance(kind, str) else kind)
