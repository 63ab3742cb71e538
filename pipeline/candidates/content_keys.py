"""Content keys: which documents a model would be shown in the same way, so that scores are equal.

A key is the BLAKE2b digest, 16 bytes, of what a score depends on: the score fingerprint (the model
and its settings), the query, and the document, or for a family that sees whole lists every
document of the list. Ids, first-stage scores and copied columns are no part of it. Each value is
written with its kind and its length before it, so no two contents have one encoding. Two of n
different contents share a key with probability n^2 / 2^129.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists

#: What is encoded, and how; another number gives other keys, so that nothing is taken for known.
_VERSION: Final = 1

_NULL, _TEXT, _BYTES = b"n", b"t", b"b"

#: A value as a model is shown it, by its kind; None: null.
_Value = tuple[bytes, memoryview] | None


def content_keys(
    lists: CandidateLists, *, pointwise: bool, fingerprint: str, images: bool = True
) -> pa.Array:
    """The content key of each document.

    An image is known by its bytes. What lies at a place may change from night to night, so where an
    image is given by its path or URI, nothing that a model is shown with it has a key.

    Args:
        lists: Q lists with N documents in all.
        pointwise: whether a score depends on one document alone. Otherwise it depends on all
            documents of the list that can be scored, in the order of the list and in that of the
            first stage, so each key says the whole list and a place in it.
        fingerprint: what else scores depend on, see
            :func:`pipeline.execution.runs.identity.score_fingerprint`.
        images: whether the family is shown images; those of others are no content.

    Returns:
        fixed_size_binary(16) [N]; null where a reason stands against the document, or where
        an image that its score depends on is given by its place.
    """
    kept, places = (lists if images else _without_images(lists)).scoreable()
    start = hashlib.blake2b(digest_size=schema.CONTENT_KEY_BYTES)
    _add(start, (_TEXT, memoryview(f"{_VERSION} {pointwise} {fingerprint}".encode())))
    queries = [start.copy() for _ in range(len(kept))]
    _add_shown(queries, kept.queries, schema.QUERY)
    found = _of_pairs(kept, queries) if pointwise else _of_lists(kept, queries)
    elsewhere = _shown_by_place(kept, pointwise=pointwise)
    keys: list[bytes | None] = [None] * lists.documents.num_rows
    for place, key, unknown in zip(places.tolist(), found, elsewhere.tolist(), strict=True):
        keys[place] = None if unknown else key
    return pa.array(keys, schema.CONTENT_KEY_TYPE)


def _without_images(lists: CandidateLists) -> CandidateLists:
    def only_text(table: pa.Table) -> pa.Table:
        return table.drop_columns([n for n in table.column_names if n == schema.IMAGE])

    return replace(lists, queries=only_text(lists.queries), documents=only_text(lists.documents))


def _shown_by_place(lists: CandidateLists, *, pointwise: bool) -> npt.NDArray[np.bool_]:
    """bool [N]: the score of a document depends on an image that is given by its place."""
    of_document = lists.query_of_document
    found = _by_place(lists.documents)
    if not pointwise:
        found = np.isin(of_document, of_document[found])
    return found | _by_place(lists.queries)[of_document]


def _by_place(table: pa.Table) -> npt.NDArray[np.bool_]:
    """bool [rows]: the image is given by its path or URI."""
    if schema.IMAGE not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    images = [value for chunk in table.column(schema.IMAGE).chunks for value in _values(chunk)]
    return np.array(
        [
            one is not None and one[0] == _TEXT and bytes(one[1][:5]).lower() != b"data:"
            for one in images
        ],
        dtype=bool,
    )


def _of_pairs(lists: CandidateLists, queries: Sequence[hashlib.blake2b]) -> Iterator[bytes]:
    hashes = [queries[query].copy() for query in lists.query_of_document.tolist()]
    _add_shown(hashes, lists.documents, schema.TEXT)
    return (one.digest() for one in hashes)


def _of_lists(lists: CandidateLists, queries: Sequence[hashlib.blake2b]) -> Iterator[bytes]:
    documents = [
        hashlib.blake2b(digest_size=schema.CONTENT_KEY_BYTES)
        for _ in range(lists.documents.num_rows)
    ]
    _add_shown(documents, lists.documents, schema.TEXT)
    ranks = lists.documents.column(schema.FIRST_STAGE_RANK).to_numpy()
    for query, whole in enumerate(queries):
        first, last = (int(offset) for offset in lists.offsets[query : query + 2])
        whole.update(_number(last - first))
        for document in documents[first:last]:
            whole.update(document.digest())
        whole.update(np.argsort(ranks[first:last], kind="stable").astype("<i8").tobytes())
        for place in range(last - first):
            one = whole.copy()
            one.update(_number(place))
            yield one.digest()


def _add_shown(hashes: Sequence[hashlib.blake2b], table: pa.Table, text: str) -> None:
    """Add text and image of each row [N] to the hash beside it [N]."""
    for name in (text, schema.IMAGE):
        values: Iterable[_Value] = [None] * len(hashes)
        if name in table.column_names:
            values = (value for chunk in table.column(name).chunks for value in _values(chunk))
        for one, value in zip(hashes, values, strict=True):
            _add(one, value)


def _add(one: hashlib.blake2b, value: _Value) -> None:
    if value is None:
        one.update(_NULL)
        return
    kind, data = value
    one.update(kind + _number(len(data)))
    one.update(data)


def _values(array: pa.Array) -> list[_Value]:
    """Texts, bytes, or of structs their bytes, or their path where there are none."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if pa.types.is_null(kind):
        return [None] * len(array)
    if pa.types.is_struct(kind):
        inner = dict(zip([field.name for field in kind], array.flatten(), strict=True))
        nothing = pa.nulls(len(array))
        both = (_values(inner.get(name, nothing)) for name in ("bytes", "path"))
        return [path if data is None else data for data, path in zip(*both, strict=True)]
    tag = _TEXT if _is_text(kind) else _BYTES
    plain = pc.fill_null(array.cast(pa.large_binary()), b"")
    _, offsets, data = plain.buffers()
    ends = np.frombuffer(offsets, np.int64)[plain.offset : plain.offset + len(plain) + 1].tolist()
    view = memoryview(data if data is not None else b"")
    valid = array.is_valid().to_pylist()
    return [
        (tag, view[start:stop]) if there else None
        for there, start, stop in zip(valid, ends[:-1], ends[1:], strict=True)
    ]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _number(value: int) -> bytes:
    return struct.pack("<Q", value)
