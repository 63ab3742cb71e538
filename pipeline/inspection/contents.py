"""What the candidates of a sample hold: lengths, scores, images, and what would not be scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.inspection.distribution import distribution

_MOST_EXAMPLES: Final = 3

Column: TypeAlias = pa.Array | pa.ChunkedArray


def content_facts(lists: Sequence[CandidateLists], columns: Collection[str]) -> dict[str, Any]:
    """Figures of a sample.

    Args:
        lists: of it.
        columns: our names of what the input has.

    Returns:
        ``texts`` and ``query_texts`` (characters, nulls, empty ones, and ``identical``: documents
        whose text stands earlier in the same list), ``first_stage_score`` and
        ``first_stage_rank`` (null where there is no column), ``images`` and ``query_images``
        (likewise), ``not_scored`` by reason, and ``share_not_scored``.
    """
    has_score = schema.FIRST_STAGE_SCORE in columns
    return {
        "texts": _text_facts([one.documents.column(schema.TEXT) for one in lists])
        | {"identical": sum(map(_identical, lists))},
        "query_texts": _text_facts([one.queries.column(schema.QUERY) for one in lists]),
        "first_stage_score": _score_facts(lists) if has_score else None,
        "first_stage_rank": {"given": True} if schema.FIRST_STAGE_RANK in columns else None,
        "images": _image_facts([one.documents for one in lists]),
        "query_images": _image_facts([one.queries for one in lists]),
        "not_scored": _not_scored(lists),
        "share_not_scored": _share(lists),
    }


def _text_facts(columns: Sequence[Column]) -> dict[str, Any]:
    lengths = [np.zeros(0, dtype=np.int64)]
    nulls = empty = 0
    for column in columns:
        nulls += column.null_count
        found = column.drop_null()
        lengths.append(_numbers(pc.utf8_length(found)))
        empty += int((_numbers(pc.utf8_length(pc.utf8_trim_whitespace(found))) == 0).sum())
    return {
        "characters": distribution(np.concatenate(lengths)),
        "null": nulls,
        "empty": empty,
    }


def _numbers(values: Column) -> npt.NDArray[np.int64]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _identical(lists: CandidateLists) -> int:
    texts = lists.documents.column(schema.TEXT).combine_chunks()
    kept = pc.is_null(lists.documents.column(schema.REASON)).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(kept)
    taken = texts.take(pa.array(places))
    return int(reasons.duplicated(lists.query_of_document[places], taken).sum())


def _score_facts(lists: Sequence[CandidateLists]) -> dict[str, Any]:
    scores = [one.documents.column(schema.FIRST_STAGE_SCORE).to_numpy() for one in lists]
    flat = np.concatenate([np.zeros(0), *scores])
    finite = flat[np.isfinite(flat)]
    return {
        "missing": int(len(flat) - len(finite)),
        "min": float(finite.min()) if len(finite) else None,
        "max": float(finite.max()) if len(finite) else None,
    }


def _image_facts(tables: Sequence[pa.Table]) -> dict[str, Any] | None:
    """How many images there are, and where their bytes would come from."""
    found = [table.column(schema.IMAGE) for table in tables if schema.IMAGE in table.column_names]
    if not found:
        return None
    kinds: Counter[str] = Counter()
    for column in found:
        kinds.update(_image_kind(value) for value in _without_bytes(column))
    missing = kinds.pop("", 0)
    return {"count": sum(kinds.values()), "null": missing, "kinds": dict(sorted(kinds.items()))}


def _without_bytes(column: Column) -> Iterable[Any]:
    """Values in which bytes are only said to be there, for they may be many."""
    for value in column:
        if isinstance(value, pa.StructScalar) and value.is_valid:
            yield {name: _present(inner) for name, inner in value.items()}
        else:
            yield _present(value)


def _present(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    if pa.types.is_dictionary(value.type):
        value = value.value
    kind = value.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return value.as_py() if text else b"-"


def _image_kind(value: Any) -> str:
    """In a word where the bytes of an image are; empty where there is no image."""
    if isinstance(value, dict):
        inline = value.get("bytes")
        value = inline if inline is not None else value.get("path")
    if value is None or value == "":
        return ""
    if isinstance(value, bytes):
        return "bytes"
    if value.startswith("data:"):
        return "data URI"
    if "://" in value:
        return f"{urlsplit(value).scheme or '?'}://"
    return "absolute path" if value.startswith("/") else "relative path"


def _not_scored(lists: Sequence[CandidateLists]) -> list[dict[str, Any]]:
    """By reason: how many candidates (queries, where it is of those), and the first few."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    for one in lists:
        found = one.documents.column(schema.REASON)
        counts.update(reasons.counts(found))
        queries = one.query_of_document
        for place in np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False)).tolist():
            known = examples.setdefault(found[place].as_py(), [])
            if len(known) < _MOST_EXAMPLES:
                query = int(queries[place])
                known.append(_named(one, query) | {"doc_id": _id(one.documents, "doc_id", place)})
        for query in one.empty.tolist():
            counts[reasons.NO_CANDIDATES] += 1
            known = examples.setdefault(reasons.NO_CANDIDATES, [])
            if len(known) < _MOST_EXAMPLES:
                known.append(_named(one, query))
    return [
        {
            "reason": code,
            "count": count,
            "message": reasons.MESSAGES.get(code, code),
            "examples": examples.get(code, []),
        }
        for code, count in counts.most_common()
    ]


def _named(lists: CandidateLists, query: int) -> dict[str, Any]:
    return {"query_id": _id(lists.queries, "query_id", query)}


def _id(table: pa.Table, column: str, place: int) -> Any:
    return table.column(column)[place].as_py()


def _share(lists: Sequence[CandidateLists]) -> float:
    """The share of candidates that would not be scored, as ``quarantine.max_error_rate`` has it."""
    total = sum(one.documents.num_rows for one in lists)
    fine = sum(one.documents.column(schema.REASON).null_count for one in lists)
    return (total - fine) / total if total else 0.0


def distinct_values(
    lists: Sequence[CandidateLists], of: Callable[[CandidateLists], Column]
) -> list[Any]:
    """The different values of a column over all lists, without null."""
    found: dict[Any, None] = {}
    for one in lists:
        found.update(dict.fromkeys(of(one).unique().to_pylist()))
    found.pop(None, None)
    return list(found)
