"""Relevance judgements (qrels) as ``query_id -> doc_id -> relevance``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from pipeline.errors import InputContractError
from pipeline.ranking.qrels_columns import Header, header_of
from pipeline.ranking.qrels_rows import Row, json_rows, parquet_rows

TREC: Final = "query_id 0 doc_id relevance"
BEIR: Final = "query-id corpus-id score"

#: trec_eval allocates one counter per relevance level up to the highest one.
MAX_RELEVANCE: Final = 1_000_000

_MOST_SHOWN: Final = 80

_PARQUET: Final = b"PAR1"

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")

#: A grade as spreadsheets and data frames write it where the column held floats.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})\.0*")

#: What files begin with that are taken for judgements now and then, and what they are.
_OTHER_KINDS: Final = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip; decompress it",
    b"\x28\xb5\x2f\xfd": "Zstandard; decompress it",
    b"PK\x03\x04": "a ZIP archive; unpack it",
}


def read_qrels(data: bytes | str, source: str) -> dict[str, dict[str, int]]:
    """Parse judgements: TREC or BEIR text, CSV, lines of JSON, or Parquet.

    TREC qrels have no header (``query_id 0 doc_id relevance``, the second field is ignored) and are
    blank or tab separated. Every other form names its columns, as BEIR does with ``query-id
    corpus-id score``; other names of them are in :mod:`pipeline.ranking.qrels_columns`, and further
    columns are ignored. Empty lines are skipped, and so is a judgement that is repeated with the
    same relevance.

    Args:
        data: content of the file; bytes are UTF-8 or Parquet.
        source: where the content is from, for errors.

    Returns:
        Relevance by query id and document id, in the order of the file, never empty. Relevance is
        an integer, which may be written as ``2.0``; 0 and below is not relevant. Ids are strings.

    Raises:
        InputContractError: a line has another form, a relevance is not a whole number within
            ±:data:`MAX_RELEVANCE`, a document is judged twice differently, or nothing is judged.
    """
    qrels: dict[str, dict[str, int]] = {}
    for place, query_id, doc_id, written in _rows(data, source):
        if not query_id or not doc_id:
            raise InputContractError(f"{place}: an id is empty; expected query id and document id")
        relevance = parse_grade(written)
        if relevance is None or abs(relevance) > MAX_RELEVANCE:
            raise InputContractError(
                f"{place}: expected an integer relevance from -{MAX_RELEVANCE} to {MAX_RELEVANCE} "
                f"as grade, found {shown(written)}"
            )
        known = qrels.setdefault(query_id, {}).setdefault(doc_id, relevance)
        if known != relevance:
            raise InputContractError(
                f"{place}: document '{doc_id}' of query '{query_id}' has relevance {relevance} "
                f"here and {known} further up; keep one of the two"
            )
    if not qrels:
        raise InputContractError(f"{source}: no judgement found; expected lines '{TREC}'")
    return qrels


def _rows(data: bytes | str, source: str) -> Iterator[Row]:
    if isinstance(data, bytes) and data.startswith(_PARQUET):
        return parquet_rows(data, source)
    lines = numbered_lines(data, source)
    first = next(lines, None)
    if first is None:
        return iter(())
    beginning = first[1].strip()
    if beginning.startswith("{") and beginning.endswith("}"):  # a judgement ends with its grade
        return json_rows(chain([first], lines), source)
    header = header_of(first[1])
    return _text_rows(lines if header else chain([first], lines), header, source)


def _text_rows(
    lines: Iterable[tuple[int, str]], header: Header | None, source: str
) -> Iterator[Row]:
    for number, line in lines:
        place = f"{source}, line {number}"
        query_id, doc_id, grade = _judgement(line, header, place)
        yield place, query_id, doc_id, grade


def numbered_lines(data: bytes | str, source: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank with their numbers, from 1; a byte order mark is dropped.

    Lines end at a line feed only: ids may hold the other characters that Python splits lines at.

    Raises:
        InputContractError: bytes that are not UTF-8.
    """
    if isinstance(data, bytes):
        _refuse_other_kind(data, source)
    # Lines come one by one, so that of a large file no second copy is in memory.
    whole: Iterable[bytes | str] = (
        io.BytesIO(data) if isinstance(data, bytes) else io.StringIO(data, newline="\n")
    )
    for number, given in enumerate(whole, start=1):
        line = given if isinstance(given, str) else _decoded(given, f"{source}, line {number}")
        line = line.removesuffix("\n").removeprefix("\ufeff" if number == 1 else "")
        if line.strip():
            yield number, line


def split_fields(line: str, count: int) -> list[str]:
    """Fields at tabs where that gives ``count`` fields (which may hold blanks), else at blanks."""
    fields = [field.strip() for field in line.split("\t")]
    return fields if len(fields) == count and all(fields) else line.split()


def shown(text: str) -> str:
    """A line or field for a message: quoted, and cut where it is long."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def parse_integer(text: str) -> int | None:
    """The integer that ASCII digits with an optional sign stand for; None for anything else."""
    return int(text) if _INTEGER.fullmatch(text) else None


def parse_grade(text: str) -> int | None:
    """The whole number that ``2`` or ``2.0`` stands for; None for anything else."""
    whole = _WHOLE.fullmatch(text)
    return parse_integer(whole[1] if whole else text)


def _refuse_other_kind(data: bytes, source: str) -> None:
    for beginning, kind in _OTHER_KINDS.items():
        if data.startswith(beginning):
            raise InputContractError(f"{source}, line 1: expected UTF-8 text, found {kind}")


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputContractError(
            f"{place}: expected UTF-8 text, found byte 0x{line[error.start]:02x}; if the file is "
            "compressed, decompress it"
        ) from error


def _judgement(line: str, header: Header | None, place: str) -> tuple[str, str, str]:
    form = TREC.split() if header is None else header.names
    quoted = header is not None and header.comma
    fields = next(csv.reader([line])) if quoted else split_fields(line, len(form))
    if len(fields) != len(form):
        hint = f"; three columns need the header '{BEIR}' as first line" if header is None else ""
        raise InputContractError(
            f"{place}: expected {len(form)} fields '{' '.join(form)}', found {len(fields)}: "
            f"{shown(line.strip())}{hint if len(fields) == 3 else ''}"
        )
    query, doc, grade = (0, 2, 3) if header is None else header.places
    return fields[query].strip(), fields[doc].strip(), fields[grade].strip()
