"""Queries that a set must not contain because it will be evaluated on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError

#: Names of the columns and keys of evaluation queries.
ID_NAMES: Final = (*schema.ALIASES[schema.QUERY_ID], "_id", "id")
TEXT_NAMES: Final = (*schema.ALIASES[schema.QUERY], schema.TEXT)

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


def read_evaluation_queries(data: bytes, path: str) -> list[EvaluationQuery]:
    """Queries of a TSV (``query_id<tab>text``) or JSONL file (BEIR's among them).

    Args:
        data: content of the file.
        path: where it is from; its ending tells the form.

    Raises:
        InputContractError: a line has another form, a text is not UTF-8, or the file holds no
            query.
    """
    if path.endswith((".jsonl", ".json")):
        rows = _from_json_lines(_lines(data, path), path)
    else:
        rows = _from_tsv(_lines(data, path), path)
    return evaluation_queries(rows, path)


def evaluation_queries(rows: Iterable[tuple[str | None, str]], path: str) -> list[EvaluationQuery]:
    """Ids and texts of a file, which must hold some.

    Raises:
        InputContractError: there are none.
    """
    found = [EvaluationQuery(file=path, query_id=query_id, text=text) for query_id, text in rows]
    if not found:
        raise InputContractError(f"{path}: no evaluation query found")
    return found


def match_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Matches as written to ``decontamination.parquet``."""
    return pa.Table.from_pylist(list(rows), schema=MATCH_SCHEMA)


def _lines(data: bytes, path: str) -> Iterator[tuple[int, str]]:
    try:
        text = data.decode("utf-8-sig")
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
                f"{path}, line {number}: expected 'query_id<tab>text', found {line.strip()[:80]!r}"
            )
        if number == 1 and query_id.lower() in ID_NAMES and text.strip().lower() in TEXT_NAMES:
            continue  # a header
        yield query_id.strip(), text


def _from_json_lines(
    lines: Iterator[tuple[int, str]], path: str
) -> Iterator[tuple[str | None, str]]:
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputContractError(f"{path}, line {number}: not JSON ({error})") from None
        text = (
            next((row[name] for name in TEXT_NAMES if name in row), None) if _is_map(row) else None
        )
        if not isinstance(text, str):
            raise InputContractError(
                f"{path}, line {number}: expected an object with one of {', '.join(TEXT_NAMES)}"
            )
        query_id = next((row[name] for name in ID_NAMES if name in row), None)
        if not isinstance(query_id, str | int | None) or isinstance(query_id, bool):
            raise InputContractError(
                f"{path}, line {number}: expected a string or a whole number as id, found "
                f"{repr(query_id)[:80]}"
            )
        for value in (text, str(query_id)):
            if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
                raise InputContractError(
                    f"{path}, line {number}: half of a surrogate pair, which is no text"
                )
        yield (None if query_id is None else str(query_id)), text


def _is_map(row: object) -> bool:
    return isinstance(row, dict)
