"""Queries that a set must not contain because it will be evaluated on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_table
from pipeline.storage.store import read_bytes

_IDS: Final = (*schema.ALIASES[schema.QUERY_ID], "_id", "id")
_TEXTS: Final = (*schema.ALIASES[schema.QUERY], schema.TEXT)

#: One row per query that was left out, with what it met.
MATCH_SCHEMA: Final = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string(), nullable=False),
        pa.field(schema.REASON, pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("evaluation_query_id", pa.string()),
        pa.field("evaluation_query", pa.string()),
        pa.field("similarity", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class EvaluationQuery:
    """A query of an evaluation collection."""

    file: str
    query_id: str | None
    text: str


def read_evaluation_queries(path: str) -> list[EvaluationQuery]:
    """Queries of a TSV (``query_id<tab>text``), JSONL (BEIR's among them) or Parquet file.

    Raises:
        NotFoundError: no such file.
        InputContractError: a line has another form, or the file holds no query.
    """
    if path.endswith(".parquet"):
        rows = _from_parquet(path)
    elif path.endswith((".jsonl", ".json")):
        rows = _from_json_lines(_lines(path), path)
    else:
        rows = _from_tsv(_lines(path), path)
    found = [EvaluationQuery(file=path, query_id=one, text=text) for one, text in rows]
    if not found:
        raise InputContractError(f"{path}: no evaluation query found")
    return found


def match_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Matches as written to ``decontamination.parquet``."""
    return pa.Table.from_pylist(list(rows), schema=MATCH_SCHEMA)


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputContractError(f"{path}: expected UTF-8 text; {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _from_tsv(lines: Iterator[tuple[int, str]], path: str) -> Iterator[tuple[str | None, str]]:
    for number, line in lines:
        query_id, tab, text = line.partition("\t")
        if not tab or not text.strip():
            raise InputContractError(
                f"{path}, line {number}: expected 'query_id<tab>text', found {line.strip()!r}"
            )
        if number == 1 and query_id.lower() in _IDS and text.strip().lower() in _TEXTS:
            continue  # a header
        yield query_id.strip(), text


def _from_json_lines(
    lines: Iterator[tuple[int, str]], path: str
) -> Iterator[tuple[str | None, str]]:
    for number, line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputContractError(f"{path}, line {number}: not JSON ({error})") from None
        text = next((row[name] for name in _TEXTS if name in row), None) if _is_map(row) else None
        if not isinstance(text, str):
            raise InputContractError(
                f"{path}, line {number}: expected an object with one of {', '.join(_TEXTS)}"
            )
        query_id = next((row[name] for name in _IDS if name in row), None)
        yield (None if query_id is None else str(query_id)), text


def _from_parquet(path: str) -> Iterator[tuple[str | None, str]]:
    table = read_table(path)
    text = next((name for name in _TEXTS if name in table.column_names), None)
    if text is None:
        raise InputContractError(
            f"{path}: expected one of the columns {', '.join(_TEXTS)}; columns found: "
            f"{', '.join(table.column_names)}"
        )
    ids = next((name for name in _IDS if name in table.column_names), None)
    values = table[ids].cast(pa.string()).to_pylist() if ids else [None] * table.num_rows
    for query_id, value in zip(values, table[text].to_pylist(), strict=True):
        if isinstance(value, str):
            yield query_id, value


def _is_map(row: object) -> bool:
    return isinstance(row, dict)
