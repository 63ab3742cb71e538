"""Columns of a file as ours: our names, our types, one array each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.casting import Place, to_ids, to_number, uuid_text, whole
from pipeline.candidates.columns import ColumnMap
from pipeline.candidates.named_columns import Level
from pipeline.errors import InputContractError

#: Whether the text of a query was not valid UTF-8.
INVALID_QUERY = "_invalid_query"

Arrays = Mapping[str, pa.Array]


def plain(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, with values in place of references to a dictionary."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def plain_columns(columns: ColumnMap, level: Level, values: Arrays) -> dict[str, pa.Array]:
    """Columns of a level by the file's names, UUIDs as text."""
    found = {name: plain(one) for name, one in values.items()}
    for uuid_level, name in columns.uuids:
        if uuid_level == level and name in found:
            found[name] = uuid_text(found[name])
    return found


def query_columns(columns: ColumnMap, rows: Arrays, place: Place) -> dict[str, pa.Array]:
    """query_id, query, whether it is invalid, and query_image where there is one; [N] each.

    Args:
        columns: of the file.
        rows: its columns, as :func:`plain_columns` gives them.
        place: where they are from.

    Raises:
        InputContractError: an id does not fit the type of all ids; names file, row and column.
    """
    outer = {name: rows[source] for name, source in columns.query.items()}
    nothing = pa.nulls(len(place.rows), pa.string())
    query, bad_query = reasons.to_text(outer.get(schema.QUERY, nothing))
    column = _described(schema.QUERY_ID, columns.query)
    found = {
        schema.QUERY_ID: to_ids(outer[schema.QUERY_ID], columns.query_id, column, place),
        schema.QUERY: query,
        INVALID_QUERY: pa.array(bad_query),
    }
    if schema.QUERY_IMAGE in outer:
        found[schema.QUERY_IMAGE] = outer[schema.QUERY_IMAGE]
    return found


def candidate_columns(
    columns: ColumnMap, inner: Arrays, separator: str, place: Place
) -> dict[str, pa.Array]:
    """Everything of the candidates, pass-through columns of both levels last; [N] each.

    Raises:
        InputContractError: a value does not fit its column's type; names file, row and column.
    """
    candidate, count = columns.candidate, len(place.rows)
    text, bad_text = _join([inner[name] for name in columns.text], separator, count)
    doc_ids = inner[candidate[schema.DOC_ID]]
    column = _described(schema.DOC_ID, candidate)
    reason = reasons.first_reason([(reasons.INVALID_UTF8, bad_text)], count)
    if schema.REASON in candidate:
        reason = pc.coalesce(inner[candidate[schema.REASON]], reason)
    found = {
        schema.DOC_ID: to_ids(doc_ids, columns.doc_id, column, place),
        schema.TEXT: text,
        schema.REASON: reason,
        schema.FIRST_STAGE_SCORE: _number(inner, columns, schema.FIRST_STAGE_SCORE, place),
        schema.FIRST_STAGE_RANK: _number(inner, columns, schema.FIRST_STAGE_RANK, place),
    }
    if schema.MESSAGE in candidate:
        found[schema.MESSAGE] = inner[candidate[schema.MESSAGE]]
    if schema.IMAGE in candidate:
        found[schema.IMAGE] = inner[candidate[schema.IMAGE]]
    for name in columns.passed:
        if name not in found:
            values = whole(inner[name], name, place)
            found[name] = carried(values, columns.carried.get(name), name, place)
    return found


def _described(name: str, mapping: Mapping[str, str]) -> str:
    """A column for messages: its own name, and ours where it differs."""
    own = mapping[name]
    return f"'{own}'" if own == name else f"'{own}' (taken as {name})"


def _number(inner: Arrays, columns: ColumnMap, name: str, place: Place) -> pa.Array:
    found = columns.candidate.get(name)
    if found is None:
        kind = pa.float64() if name == schema.FIRST_STAGE_SCORE else pa.int32()
        return pa.nulls(len(place.rows), kind)
    return to_number(inner[found], name, _described(name, columns.candidate), place)


def carried(values: pa.Array, kind: pa.DataType | None, name: str, place: Place) -> pa.Array:
    """A copied column [N] in the type that it has in all files; None leaves it as it is.

    Raises:
        InputContractError: a value does not fit it; names file and column.
    """
    if kind is None or values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InputContractError(
            f"{place.path}: column '{name}' holds {values.type}, but {kind} in other files, and "
            f"cannot be turned into it ({str(error).splitlines()[0]}); write all files with one "
            "type"
        ) from None


def _join(
    parts: list[pa.Array], separator: str, count: int
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Text columns joined row by row; nulls and empty strings are left out, all-null stays null."""
    if not parts:
        return pa.nulls(count, pa.string()), np.zeros(count, dtype=bool)
    decoded = [reasons.to_text(part) for part in parts]
    invalid = np.logical_or.reduce([bad for _, bad in decoded])
    texts = [text for text, _ in decoded]
    if len(texts) == 1:
        return texts[0], invalid
    nothing = pa.scalar(None, pa.string())
    filled = [pc.if_else(pc.equal(text, ""), nothing, text) for text in texts]
    # Arrow 26 drops a row of nulls instead of joining nothing, so such rows are made empty first.
    bare = np.logical_and.reduce([reasons.is_null(text) for text in filled])
    filled[0] = pc.if_else(pa.array(bare), "", filled[0])
    glue = pa.scalar(separator, pa.string())
    joined = pc.binary_join_element_wise(*filled, glue, null_handling="skip")
    all_null = np.logical_and.reduce([reasons.is_null(text) for text in texts])
    return pc.if_else(pa.array(all_null), nothing, joined), invalid
