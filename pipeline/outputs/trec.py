"""TREC runs: ``query_id Q0 doc_id rank score tag``, as trec_eval and its relatives read them.

Fields end at white space and cannot be quoted, so an id with white space in it would be read as
another line or another id. Such an id is refused by name, never changed: whoever joins the run with
judgements joins by exactly these ids.

What was not scored is left out. A line needs a score, and none that the model did not give is
written; those candidates stand in ``ranked/`` with a null score, and in ``quarantine/``.

trec_eval orders by score and breaks ties by document id, descending, whatever the rank says; here
ties go by first-stage rank, and equal scores are written as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.outputs.base import Sink

#: Everything at which some reader ends a field or a line, or which one drops: white space of
#: Unicode (Python's ``split``) and of C, control characters, and the byte order mark.
_BREAKS: Final = re.compile("[\\s\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ufeff]")

_WHAT: Final = {schema.QUERY_ID: "query id", schema.DOC_ID: "document id"}


class Trec(Sink):
    """A line per scored candidate, best first; the tag is the model's name."""

    suffix = ".trec"
    joinable = True
    leaves_out = "candidates without a score"

    def held(self, rows: pa.Table) -> pa.Table:
        """The candidates that have a score."""
        return rows.filter(rows.column(schema.SCORE).is_valid())

    def write(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """Scores have as many digits as bring the same float32 back.

        Raises:
            InputContractError: an id is empty or null, is not UTF-8, or holds white space or a
                control character.
        """
        query_ids, doc_ids = (ids_of(rows, name) for name in (schema.QUERY_ID, schema.DOC_ID))
        _refuse_breaks(query_ids, doc_ids)
        ranks = rows.column(schema.RANK).to_pylist()
        scores = rows.column(schema.SCORE).to_numpy().astype(np.float32)
        tag = one_word(about["model"], lambda _: "_") or "_"
        lines = (
            f"{query_id} Q0 {doc_id} {rank} {score!s} {tag}\n"
            for query_id, doc_id, rank, score in zip(query_ids, doc_ids, ranks, scores, strict=True)
        )
        return "".join(lines).encode()


def one_word(text: str, instead: Callable[[str], str]) -> str:
    """A text with something else in place of every character that ends a field or a line."""
    return _BREAKS.sub(lambda match: instead(match[0]), text)


def ids_of(rows: pa.Table, name: str) -> list[str]:
    """The ids of a column as text; null is empty.

    Raises:
        InputContractError: one is not UTF-8.
    """
    try:
        ids: list[str] = pc.fill_null(rows.column(name).cast(pa.large_string()), "").to_pylist()
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise _refused(f"a {_WHAT[name]} is not UTF-8 ({error})") from None
    return ids


def _refuse_breaks(query_ids: list[str], doc_ids: list[str]) -> None:
    for query_id, doc_id in zip(query_ids, doc_ids, strict=True):
        for name, value in ((schema.QUERY_ID, query_id), (schema.DOC_ID, doc_id)):
            match = _BREAKS.search(value)
            if value and match is None:
                continue
            why = "is empty" if match is None else f"holds {match[0]!r}"
            where = f" of query {query_id!r}" if name == schema.DOC_ID else ""
            raise _refused(f"{_WHAT[name]} {value!r}{where} {why}")


def _refused(why: str) -> InputContractError:
    return InputContractError(
        f"format trec: {why}, and a field of a TREC run is one word without control characters. "
        "Give other ids where the lists are written, take trec_encoded, which percent-encodes ids "
        "with white space, or leave the format out of output.formats"
    )
