"""Arrow's own schema in a Parquet footer, made safe to follow: no extension type is resolved."""

from __future__ import annotations

import base64
from typing import Final

import pyarrow as pa

from pipeline.storage.parquet.schema_size import unfolded_size

#: Memory for the schema of one file; one of 100,000 columns takes 110 MB.
MOST_SCHEMA_BYTES: Final = 256 * 2**20

#: Key of a field's metadata that makes Arrow resolve an extension type, and what it is changed to
#: (of the same length, so that nothing in the footer moves).
EXTENSION_KEY: Final = b"ARROW:extension:name"
DECLARED_KEY: Final = b"ARROW.extension.name"

_LISTS: Final = (pa.types.is_list, pa.types.is_list_view, pa.types.is_fixed_size_list)
_LARGE_LISTS: Final = (pa.types.is_large_list, pa.types.is_large_list_view)


def safe_schema(value: bytes) -> bytes | None:
    """Arrow's schema, in as many bytes, without what is more than values read as they are stored.

    None where it is no schema, or one that unfolds to more than :data:`MOST_SCHEMA_BYTES`.
    """
    try:
        decoded = base64.b64decode(value, validate=True).replace(EXTENSION_KEY, DECLARED_KEY)
        if not decoded or len(base64.b64encode(decoded)) != len(value):
            return None
        if unfolded_size(decoded, MOST_SCHEMA_BYTES) > MOST_SCHEMA_BYTES:
            return None
        given = pa.ipc.read_schema(pa.py_buffer(decoded))
        plain = [field.with_type(stored_type(field.type)) for field in given]
        if any(field.type != before.type for field, before in zip(plain, given, strict=True)):
            made = pa.schema(plain, metadata=given.metadata).serialize().to_pybytes()
            if len(made) > len(decoded):
                return None
            decoded = made.ljust(len(decoded), b"\0")
    except (ValueError, pa.ArrowException, OSError):  # binascii's and Unicode's are ValueErrors
        return None
    return base64.b64encode(decoded)


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type with plain text, bytes and lists in place of views and of lists of a fixed size.

    Extension types are replaced by what is stored.

    Arrow fills a null list of a fixed size up with as many values as its type says, which no page
    has to hold; and it cannot copy rows of views.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return stored_type(kind.storage_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if not kind.num_fields:
        return kind
    inner = [
        field.with_type(stored_type(field.type))
        for field in (kind.field(place) for place in range(kind.num_fields))
    ]
    if pa.types.is_struct(kind):
        return pa.struct(inner)
    if pa.types.is_map(kind):
        key, item = inner[0].type
        return pa.map_(key, item, keys_sorted=kind.keys_sorted)
    if any(test(kind) for test in _LISTS):
        return pa.list_(inner[0])
    return pa.large_list(inner[0]) if any(test(kind) for test in _LARGE_LISTS) else kind
