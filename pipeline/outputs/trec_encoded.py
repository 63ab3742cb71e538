"""TREC runs whose ids are percent-encoded where a TREC run cannot hold them as they are.

Every character at which a reader would end a field or a line (:mod:`pipeline.outputs.trec` says
which), and the percent sign, becomes ``%XX`` for each of its bytes in UTF-8. All others stay, so
ids without any of these are the same as in ``trec``; ``urllib.parse.unquote`` gives every id back.
Whoever joins such a run with judgements encodes the ids of the judgements alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.outputs.base import Sink
from pipeline.outputs.trec import Trec, ids_of, one_word


class TrecEncoded(Sink):
    """As trec, with ids percent-encoded; an id that is empty is refused as there."""

    suffix = ".trec"
    joinable = True
    leaves_out = Trec.leaves_out

    def held(self, rows: pa.Table) -> pa.Table:
        """The candidates that have a score."""
        return Trec().held(rows)

    def write(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """As :meth:`Trec.write`.

        Raises:
            InputContractError: an id is empty or null, or is not UTF-8.
        """
        for name in (schema.QUERY_ID, schema.DOC_ID):
            ids = pa.array([encoded(value) for value in ids_of(rows, name)], pa.large_string())
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pc.if_else(pc.equal(ids, ""), None, ids))
        return Trec().write(rows, about)


def encoded(value: str) -> str:
    """An id as one word; the same id where it is one and has no percent sign."""
    marked = value.replace("%", "%25")
    return one_word(marked, lambda character: quote(character, safe=""))
