"""Candidate lists in memory: whole queries of one unit, flat, and their Arrow carrier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError


@dataclass(frozen=True, kw_only=True)
class CandidateLists:
    """The candidate lists of ``Q`` queries with ``N`` documents in all.

    Attributes:
        queries: table [Q] of query_id and query.
        offsets: int64 [Q + 1]; list ``i`` is ``documents[offsets[i]:offsets[i + 1]]``.
        documents: table [N] of doc_id, text, first_stage_score (float64), first_stage_rank
            (int32), reason (null where the candidate can be scored), then image and pass-through
            columns where there are any; in runs with a reuse table what is known of each, see
            :func:`pipeline.candidates.reuse.with_known`.
    """

    queries: pa.Table
    offsets: npt.NDArray[np.int64]
    documents: pa.Table

    def __len__(self) -> int:
        return int(self.queries.num_rows)

    @property
    def query_of_document(self) -> npt.NDArray[np.int64]:
        """int64 [N]: the list that each document stands in."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def empty(self) -> npt.NDArray[np.int64]:
        """int64 [E]: the lists without documents."""
        return np.flatnonzero(np.diff(self.offsets) == 0)

    def without(self, reason: str) -> CandidateLists:
        """The same queries without the documents that have this reason against them."""
        found = pc.fill_null(pc.equal(self.documents.column(schema.REASON), reason), False)
        return self._only(np.flatnonzero(~found.to_numpy(zero_copy_only=False)))

    def scoreable(self) -> tuple[CandidateLists, npt.NDArray[np.int64]]:
        """The same queries with only those documents that have no reason against them.

        Returns:
            The reduced lists, and int64 [M]: for each kept document its place among all [N].
        """
        reasons = self.documents.column(schema.REASON)
        kept = np.flatnonzero(pc.is_null(reasons).to_numpy(zero_copy_only=False))
        return self._only(kept), kept

    def unscored(self) -> tuple[CandidateLists, npt.NDArray[np.int64]]:
        """As :meth:`scoreable`, without the documents whose score is known from an earlier run."""
        wanted = pc.is_null(self.documents.column(schema.REASON)).to_numpy()
        kept = np.flatnonzero(wanted & np.isnan(self.reused_scores))
        return self._only(kept), kept

    @property
    def reused_scores(self) -> npt.NDArray[np.float32]:
        """float32 [N]: the score that each document has from an earlier run, NaN where none."""
        if schema.REUSED_SCORE not in self.documents.column_names:
            return np.full(self.documents.num_rows, np.nan, dtype=np.float32)
        found = self.documents.column(schema.REUSED_SCORE).to_numpy()
        return np.asarray(found, dtype=np.float32)

    def distinct_pairs(self) -> tuple[CandidateLists, npt.NDArray[np.int64]]:
        """The same queries, each pair of a query and a document once, where it stands first.

        Pairs are equal where a pointwise model is shown the same: the same query with the same
        query image, and the same text with the same image (byte for byte, or the same place that it
        is read from). Lists of equal queries share their pairs, so the later ones may become empty.

        Returns:
            The reduced lists, pairs in their old order, and int64 [N]: for each document its place
            among the pairs.
        """
        group = np.zeros(self.documents.num_rows, dtype=np.int64)
        columns = [
            *(codes[self.query_of_document] for codes in _codes(self.queries, schema.QUERY)),
            *_codes(self.documents, schema.TEXT),
        ]
        for codes in columns:  # numbered anew each time, so that they stay small
            both = group * (codes.max(initial=0) + 2) + codes + 1
            _, first, group = np.unique(both, return_index=True, return_inverse=True)
        kept = np.sort(first)
        return self._only(kept), np.searchsorted(kept, first[group])

    def _only(self, kept: npt.NDArray[np.int64]) -> CandidateLists:
        """The documents at some places, which are in order."""
        if len(kept) == self.documents.num_rows:
            return self
        offsets = np.searchsorted(kept, self.offsets)
        return replace(self, offsets=offsets, documents=self.documents.take(kept))

    def to_ipc(self) -> bytes:
        """Arrow IPC stream of one row per query, the canonical nested layout."""
        arrays = [_one_array(column) for column in self.documents.columns]
        fields = [
            field.with_type(array.type)
            for field, array in zip(self.documents.schema, arrays, strict=True)
        ]
        items = pa.StructArray.from_arrays(arrays, fields=fields)
        lists = pa.LargeListArray.from_arrays(pa.array(self.offsets), items)
        table = self.queries.append_column(schema.CANDIDATES, lists)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    @classmethod
    def from_ipc(cls, payload: bytes | pa.Buffer) -> CandidateLists:
        """The inverse of :meth:`to_ipc`; columns are views of ``payload``, not copies."""
        with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
            table = reader.read_all().combine_chunks()
        column = table.column(schema.CANDIDATES)
        lists = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        items = lists.values
        return cls(
            queries=table.drop_columns([schema.CANDIDATES]),
            offsets=np.asarray(lists.offsets, dtype=np.int64),
            documents=pa.table(items.flatten(), schema=pa.schema(list(items.type))),
        )

    @classmethod
    def from_texts(cls, query: str, texts: list[str | None]) -> CandidateLists:
        """One list built by hand, documents named by their position; for notebooks and tests."""
        count = len(texts)
        return cls(
            queries=pa.table({schema.QUERY_ID: pa.array(["0"]), schema.QUERY: pa.array([query])}),
            offsets=np.array([0, count], dtype=np.int64),
            documents=pa.table(
                {
                    schema.DOC_ID: pa.array([str(i) for i in range(count)], pa.string()),
                    schema.TEXT: pa.array(texts, pa.string()),
                    schema.FIRST_STAGE_SCORE: pa.nulls(count, pa.float64()),
                    schema.FIRST_STAGE_RANK: pa.array(np.arange(1, count + 1), pa.int32()),
                    schema.REASON: pa.nulls(count, pa.string()),
                }
            ),
        )


def _codes(table: pa.Table, text: str) -> Iterator[npt.NDArray[np.int64]]:
    """int64 [rows] for each column that a model is shown: equal where the values are."""
    for name in (text, schema.IMAGE):
        if name in table.column_names:
            yield from _codes_of(table.column(name).combine_chunks())


def _codes_of(values: pa.Array | pa.ChunkedArray) -> Iterator[npt.NDArray[np.int64]]:
    kind = values.type
    if pa.types.is_struct(kind):
        yield _numbered(pc.is_valid(values))
        for field in values.flatten():
            yield from _codes_of(field)
    elif _is_bytes(kind):
        # Digests: images would be copied, and may be more than an array of 2 GiB can hold.
        yield _numbered(pa.array([_digest(value) for value in values], pa.binary()))
    elif pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        yield np.arange(len(values))  # nothing that an image can be, so nothing to be equal
    else:
        yield _numbered(values)


def _numbered(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """int64 [N]: the same number for equal values, -1 for null."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    found = values.dictionary_encode()
    if isinstance(found, pa.ChunkedArray):
        found = found.unify_dictionaries().combine_chunks()
    if isinstance(found, pa.ChunkedArray):  # no chunks at all
        return np.zeros(0, dtype=np.int64)
    codes = pc.fill_null(found.indices.cast(pa.int64()), -1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_bytes(kind: pa.DataType) -> bool:
    tests = ("is_binary", "is_large_binary", "is_fixed_size_binary")
    return any(getattr(pa.types, test)(kind) for test in tests)


def _digest(value: pa.Scalar) -> bytes | None:
    data = value.as_buffer() if hasattr(value, "as_buffer") else value.as_py()
    return None if data is None else hashlib.blake2b(data, digest_size=16).digest()


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; of a large type where its text does not fit in two GiB."""
    if column.num_chunks == 1:
        return column.chunk(0)
    try:
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    except pa.ArrowInvalid:
        wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(column.type)
        if wide is None:
            raise InputContractError(
                f"a unit holds more than 2 GiB of {column.type}; lower units.documents"
            ) from None
        return pa.concat_arrays([chunk.cast(wide) for chunk in column.chunks])
