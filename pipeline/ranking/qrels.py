"""Relevance judgements (qrels), TREC or BEIR text, as ``query_id -> doc_id -> relevance``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.errors import InputContractError

TREC: Final = "query_id 0 doc_id relevance"
BEIR: Final = "query-id corpus-id score"

#: trec_eval allocates one counter per relevance level up to the highest one.
MAX_RELEVANCE: Final = 1_000_000

_MOST_SHOWN: Final = 80

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")

#: A grade as spreadsheets and data frames write it where the column held floats.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})\.0*")

#: What files begin with that are taken for judgements now and then, and what they are.
_OTHER_KINDS: Final = {
    b"PAR1": "Parquet; write it as text",
    b"\x1f\x8b": "gzip; decompress it",
    b"\x28\xb5\x2f\xfd": "Zstandard; decompress it",
    b"PK\x03\x04": "a ZIP archive; unpack it",
}


def read_qrels(data: bytes | str, source: str) -> dict[str, dict[str, int]]:
    """Parse judgements, blank or tab separated.

    Either TREC qrels without a header (``query_id 0 doc_id relevance``, the second field is
    ignored) or BEIR's three columns under the header ``query-id corpus-id score``. Empty lines are
    skipped, and so is a judgement that is repeated with the same relevance.

    Args:
        data: content of the file; bytes are UTF-8.
        source: where the content is from, for errors.

    Returns:
        Relevance by query id and document id, in the order of the file, never empty. Relevance is
        an integer, which may be written as ``2.0``; 0 and below is not relevant. Ids are strings.

    Raises:
        InputContractError: a line has another form, a relevance is not a whole number within
            ±:data:`MAX_RELEVANCE`, a document is judged twice differently, or nothing is judged.
    """
    qrels: dict[str, dict[str, int]] = {}
    form: str | None = None
    for number, line in numbered_lines(data, source):
        if form is None:
            form = BEIR if _is_beir_header(line) else TREC
            if form == BEIR:
                continue
        query_id, doc_id, relevance = _judgement(line, form, f"{source}, line {number}")
        known = qrels.setdefault(query_id, {}).setdefault(doc_id, relevance)
        if known != relevance:
            raise InputContractError(
                f"{source}, line {number}: document '{doc_id}' of query '{query_id}' has relevance "
                f"{relevance} here and {known} further up; keep one of the two lines"
            )
    if not qrels:
        raise InputContractError(f"{source}: no judgement found; expected lines '{TREC}'")
    return qrels


def numbered_lines(data: bytes | str, source: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank with their numbers, from 1; a byte order mark is dropped.

    Lines end at a line feed only: ids may hold the other characters that Python splits lines at.

    Raises:
        InputContractError: bytes that are not UTF-8.
    """
    text = _decoded(data, source) if isinstance(data, bytes) else data
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
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


def _decoded(data: bytes, source: str) -> str:
    for beginning, kind in _OTHER_KINDS.items():
        if data.startswith(beginning):
            raise InputContractError(f"{source}, line 1: expected UTF-8 text, found {kind}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputContractError(
            f"{source}, line {number}: expected UTF-8 text, found byte 0x{data[error.start]:02x}; "
            "if the file is compressed, decompress it"
        ) from error


def _is_beir_header(line: str) -> bool:
    return " ".join(line.lower().replace("_", "-").split()) == BEIR


def _judgement(line: str, form: str, place: str) -> tuple[str, str, int]:
    count = len(form.split())
    fields = split_fields(line, count)
    if len(fields) != count:
        hint = f"; three columns need the header '{BEIR}' as first line" if form == TREC else ""
        raise InputContractError(
            f"{place}: expected {count} fields '{form}', found {len(fields)}: {shown(line.strip())}"
            f"{hint if len(fields) == 3 else ''}"
        )
    relevance = parse_grade(fields[-1])
    if relevance is None or abs(relevance) > MAX_RELEVANCE:
        raise InputContractError(
            f"{place}: expected an integer relevance from -{MAX_RELEVANCE} to {MAX_RELEVANCE} as "
            f"last field of '{form}', found {shown(fields[-1])}"
        )
    return fields[0], fields[-2], relevance
