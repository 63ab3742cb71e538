"""Evaluation queries in Parquet, with the same rules for columns as candidates have."""

from __future__ import annotations

import pyarrow as pa

from pipeline.candidates.canonical import plain
from pipeline.candidates.column_types import id_type, require_text
from pipeline.candidates.reasons import to_text
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.rules.decontamination import (
    ID_NAMES,
    TEXT_NAMES,
    EvaluationQuery,
    evaluation_queries,
    read_evaluation_queries,
)
from pipeline.errors import InputContractError
from pipeline.storage.parquet import columns_of, table_of


def evaluation_queries_of(given: GivenFiles, path: str) -> list[EvaluationQuery]:
    """Queries of a TSV, JSONL or Parquet file; a null query is none.

    Raises:
        InputContractError: the file changed, has another form, or holds no query.
    """
    data = given.read(path)
    if not path.endswith(".parquet"):
        return read_evaluation_queries(data, path)
    names = columns_of(data, path)
    text = next((name for name in TEXT_NAMES if name in names), None)
    if text is None:
        raise InputContractError(
            f"{path}: expected one of the columns {', '.join(TEXT_NAMES)}; columns found: "
            f"{', '.join(names)}"
        )
    ids = next((name for name in ID_NAMES if name in names), None)
    table = table_of(data, path, columns=[text] if ids is None else [text, ids])
    if not table.num_rows:  # its types mean nothing
        return evaluation_queries((), path)
    require_text(table.schema.field(text), path)
    query_ids: list[str | None] = [None] * table.num_rows
    if ids is not None:
        id_type(table.schema.field(ids), path)
        query_ids = _strings(table[ids], ids, path)
    rows = zip(query_ids, _strings(table[text], text, path), strict=True)
    queries = [(query_id, value) for query_id, value in rows if value is not None]
    return evaluation_queries(queries, path)


def _strings(values: pa.ChunkedArray, name: str, path: str) -> list[str | None]:
    given = plain(values)
    found, invalid = to_text(given.cast(pa.string()) if pa.types.is_integer(given.type) else given)
    if invalid.any():
        raise InputContractError(
            f"{path}, row {int(invalid.argmax())}: column '{name}' holds what is not UTF-8; write "
            "it again as UTF-8"
        )
    strings: list[str | None] = found.to_pylist()
    return strings
