"""Which columns of a file hold plain values, and which of them are declared to be more.

An extension type's values are interpreted by a library, so a column of one is refused by name;
those that only name a plain text or plain bytes are read as what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.storage.parquet.arrow_schema import DECLARED_KEY
from pipeline.storage.parquet.footer import FIXED, Leaf

#: Extension types whose stored values are plain text or bytes with a plain meaning.
_PLAIN_EXTENSIONS: Final = frozenset({"arrow.uuid", "arrow.json"})


def refuse_extensions(field: pa.Field, path: str) -> None:
    """Refuse a column that is, or has inside it, an extension type that is more than a name.

    Raises:
        InputContractError: names file, column and type.
    """
    found = _declared(field, field.name)
    if found is None:
        return
    place, name = found
    raise InputContractError(
        f"{path}: column '{place}' is of the extension type '{name}', whose values a library "
        "interprets, perhaps by running code that they hold; only plain columns are read. Write "
        "what it stands for as a plain column (pyarrow: column.cast(...) or "
        "column.combine_chunks().storage), or do not name the column"
    )


def twice_error(path: str, name: str) -> InputContractError:
    """The refusal of a column whose name stands twice."""
    return InputContractError(
        f"{path}: column '{name}' stands twice, so it is not known which one is meant; write the "
        "file with one of them, or rename one"
    )


def uuid_columns(leaves: Sequence[Leaf], schema: pa.Schema) -> frozenset[tuple[str, str]]:
    """Top-level name and own name of every column of UUIDs in 16 bytes.

    Args:
        leaves: the file's columns as Parquet's schema declares them.
        schema: the same file's as Arrow's does.
    """
    found = {
        (leaf.path[0], leaf.path[-1])
        for leaf in leaves
        if leaf.physical == FIXED and leaf.length == 16 and leaf.logical == "uuid"
    }
    for top in schema:
        found |= {
            (top.name, field.name) for field in _fields(top) if _name_of(field) == "arrow.uuid"
        }
    return frozenset(found)


def _name_of(field: pa.Field) -> str:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(getattr(field.type, "extension_name", field.type))
    name: bytes = (field.metadata or {}).get(DECLARED_KEY, b"")
    return name.decode("utf-8", errors="replace")


def _declared(field: pa.Field, place: str) -> tuple[str, str] | None:
    """The first extension type at or below a field that is more than a name for plain values."""
    name = _name_of(field)
    if name and name not in _PLAIN_EXTENSIONS:
        return place, name
    for inner in _children(field.type):
        found = _declared(inner, f"{place}.{inner.name}")
        if found is not None:
            return found
    return None


def _fields(field: pa.Field) -> Iterator[pa.Field]:
    yield field
    for inner in _children(field.type):
        yield from _fields(inner)


def _children(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(place) for place in range(kind.num_fields)]
