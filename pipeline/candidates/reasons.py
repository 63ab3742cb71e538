"""Why a candidate was not scored: the closed list of reason codes, and the checks of an input row.

A candidate with a reason is never dropped: it stands in the output with a null score, ranked last,
and in the quarantine with the message below. A query without candidates has no row in the output,
which is one of candidates; it stands in the quarantine, with a null doc_id, and is counted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NULL_QUERY_ID: Final = "null_query_id"
NULL_QUERY: Final = "null_query"
NULL_DOC_ID: Final = "null_doc_id"
NULL_TEXT: Final = "null_text"
INVALID_UTF8: Final = "invalid_utf8"
QUERY_MISMATCH: Final = "query_mismatch"
DUPLICATE_DOCUMENT: Final = "duplicate_document"
NOT_FINITE: Final = "not_finite"
OUT_OF_MEMORY: Final = "out_of_memory"
IMAGE_FETCH: Final = "image_fetch"
IMAGE_DECODE: Final = "image_decode"
IMAGE_LIMIT: Final = "image_limit"
WORKER_CRASHED: Final = "worker_crashed"
NO_CANDIDATES: Final = "no_candidates"
MISSING_DOCUMENT: Final = "missing_document"
MISSING_QUERY: Final = "missing_query"
MALFORMED_LINE: Final = "malformed_line"

#: What each code means and what to do; written to the quarantine, shown in the docs.
MESSAGES: Final[dict[str, str]] = {
    NULL_QUERY_ID: "the row has no query_id; fill it upstream",
    NULL_QUERY: "the query text is null; fill it upstream",
    NULL_DOC_ID: "the row has no doc_id; fill it upstream",
    NULL_TEXT: "every text column of the document is null; fill one, or name more text_columns",
    INVALID_UTF8: "query or text is not valid UTF-8; write it again as UTF-8",
    QUERY_MISMATCH: "the query text differs from the first row of the same query_id",
    DUPLICATE_DOCUMENT: "the doc_id stands earlier in the same list; the first one was scored",
    NOT_FINITE: "the model returned NaN or infinity, alone and in float32 as well",
    OUT_OF_MEMORY: "the sequence alone did not fit in device memory; lower max_length",
    IMAGE_FETCH: "there is no image at the place given, or the job does not allow it to be read "
    "from there; check the path, permissions, and base, roots and https_hosts of input.images",
    IMAGE_DECODE: "the image is damaged or neither JPEG, PNG nor WEBP; write it again as one of "
    "these",
    IMAGE_LIMIT: "the image exceeds a limit on bytes, pixels, memory, time, shape or tokens; make "
    "it smaller, or raise max_bytes, max_pixels or decode_s of input.images",
    WORKER_CRASHED: "the query crashed, hung or raised in every worker that scored it, even alone; "
    "the run's report has the worker's last words",
    NO_CANDIDATES: "the query's list of candidates is null or empty, so there is nothing to rank",
    MISSING_DOCUMENT: "no document of input.corpus has this doc_id; ids are compared character by "
    "character",
    MISSING_QUERY: "no query of input.queries has this query_id; ids are compared character by "
    "character",
    MALFORMED_LINE: "the line is not one of its file's format, so it names no candidate",
}

#: Reasons that are of a query and not of a candidate.
OF_QUERIES: Final = frozenset({NO_CANDIDATES})


def first_reason(checks: list[tuple[str, npt.NDArray[np.bool_]]], count: int) -> pa.Array:
    """string [count]: for each row the first check that holds, null where none does."""
    reasons = np.full(count, None, dtype=object)
    for code, holds in reversed(checks):
        reasons[holds] = code
    return pa.array(reasons, pa.string())


def duplicated(queries: npt.NDArray[np.int64], doc_ids: pa.Array) -> npt.NDArray[np.bool_]:
    """bool [N]: the (query, doc_id) pair occurred at an earlier position; null ids never count."""
    encoded = pc.dictionary_encode(doc_ids)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    keys = queries * (len(encoded.dictionary) + 1) + codes
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return np.asarray(~first & (codes >= 0), dtype=bool)


def is_null(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """bool [N]: the value is null."""
    return np.asarray(pc.is_null(values).to_numpy(zero_copy_only=False), dtype=bool)


def to_text(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Any text-like array as ``string``, and which values were not valid UTF-8 (null there).

    Args:
        values: [N] string, large_string, binary, or a dictionary of these.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_null(values.type) or pa.types.is_string(values.type):
        # Parquet's UTF8 annotation is a promise that the writer may have broken.
        if _is_valid(values):
            return values.cast(pa.string()), np.zeros(len(values), dtype=bool)
        values = values.cast(pa.binary())
    try:
        cast = values.cast(pa.string())
        if _is_valid(cast):
            return cast, np.zeros(len(values), dtype=bool)
    except pa.ArrowInvalid:
        pass  # some value is not UTF-8; find out which, one by one
    decoded = [_decode(value) for value in values.cast(pa.large_binary()).to_pylist()]
    invalid = np.array([value is _INVALID for value in decoded], dtype=bool)
    return pa.array([None if v is _INVALID else v for v in decoded], pa.string()), invalid


_INVALID: Final = object()


def _decode(value: bytes | None) -> object:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _INVALID


def _is_valid(values: pa.Array) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def message(code: str) -> str:
    """The explanation that goes with a reason code."""
    return MESSAGES[code]


def counts(reasons: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each code occurs, by code."""
    table = pc.value_counts(reasons.drop_null())
    found = {item["values"]: int(item["counts"]) for item in table.to_pylist()}
    return {code: found[code] for code in sorted(found)}
