"""Candidate lists in memory: whole queries of one unit, flat, and their Arrow carrier."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema


@dataclass(frozen=True, kw_only=True)
class CandidateLists:
    """The candidate lists of ``Q`` queries with ``N`` documents in all.

    Attributes:
        queries: table [Q] of query_id and query.
        offsets: int64 [Q + 1]; list ``i`` is ``documents[offsets[i]:offsets[i + 1]]``.
        documents: table [N] of doc_id, text, first_stage_score (float64), first_stage_rank
            (int32), reason (null where the candidate can be scored), then image and pass-through
            columns where there are any.
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

    def scoreable(self) -> tuple[CandidateLists, npt.NDArray[np.int64]]:
        """The same queries with only those documents that have no reason against them.

        Returns:
            The reduced lists, and int64 [M]: for each kept document its place among all [N].
        """
        reasons = self.documents.column(schema.REASON)
        kept = np.flatnonzero(pc.is_null(reasons).to_numpy(zero_copy_only=False))
        if len(kept) == self.documents.num_rows:
            return self, kept
        offsets = np.searchsorted(kept, self.offsets)
        reduced = replace(self, offsets=offsets, documents=self.documents.take(kept))
        return reduced, kept

    def to_ipc(self) -> bytes:
        """Arrow IPC stream of one row per query, the canonical nested layout."""
        documents = self.documents.combine_chunks()
        arrays = [
            column.chunk(0) if column.num_chunks else pa.array([], column.type)
            for column in documents.columns
        ]
        items = pa.StructArray.from_arrays(arrays, fields=list(documents.schema))
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
