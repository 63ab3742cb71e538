"""What a file is, told by how it begins; a name only decides between TSV and CSV."""

from __future__ import annotations

import json
import re
from typing import Final, Literal

from pipeline.errors import InputContractError
from pipeline.storage.parquet.formats import binary_format

Format = Literal["parquet", "trec", "tsv", "csv", "jsonl", "lance"]

#: The fields of a TREC run (https://trec.nist.gov, trec_eval's README).
TREC_FIELDS: Final = ("query_id", "Q0", "doc_id", "rank", "score", "tag")

#: The byte order mark of UTF-8.
BOM: Final = b"\xef\xbb\xbf"

#: Names of formats in messages.
SPOKEN: Final[dict[str, str]] = {
    "parquet": "Parquet",
    "trec": "a TREC run",
    "tsv": "TSV",
    "csv": "CSV",
    "jsonl": "JSON lines",
    "lance": "a Lance table",
}

_LINES: Final = 20

_PARQUET: Final = b"PAR1"

#: Bytes among which a header of binary formats has control characters.
_HEADER: Final = 64

#: What may follow the brace of a JSON object: the quote of its first key, its end, or a new line.
_OBJECT: Final = re.compile(rb"\{\s*(\"|\}|$)")

#: Control characters that any text may have; random bytes have one among twelve.
_CONTROLS: Final = 64
_MOST_SHOWN: Final = 120
_INTEGER: Final = re.compile(rb"[+-]?[0-9]+")
_NUMBER: Final = re.compile(
    rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)", re.I
)
_MARKUP: Final = re.compile(rb"<(!doctype|html|head|body|\?xml)\b", re.I)


def format_of(head: bytes, path: str) -> Format:
    """The format of a file.

    Args:
        head: its first bytes, decompressed; some 64 KiB.
        path: its name, for what its ending says and for messages.

    Raises:
        InputContractError: it is of no format that is read; says which one it is.
    """
    if is_parquet(head):
        return "parquet"
    refuse_other(head, path)
    lines = first_lines(head)
    first = lines[0]
    if _is_json_object(first):
        return "jsonl"
    if is_trec(lines):  # before other formats: ids of a run may begin like anything
        return "trec"
    if _begins_json_object(first):
        _refuse_spread_json(first, path)
        return "jsonl"
    ending = path.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2")[-4:]
    if b"\t" in first and not (ending == ".csv" and b"," in first):
        return "tsv"
    if b"," in first:
        return "csv"
    raise InputContractError(
        f"{path}: this is text, but neither a TREC run, nor TSV, CSV or JSON lines; its first "
        f"line is {shown(first)}; write it in one of these, or as Parquet"
    )


def refuse_forced(wanted: Format, head: bytes, path: str) -> None:
    """Refuse a file that is plainly not of the format that ``input.format`` says.

    Raises:
        InputContractError: shows the first line.
    """
    if wanted == "parquet":
        if not is_parquet(head):
            found = _found(head, path)
            raise InputContractError(f"{path}: input.format is parquet, but {found}")
        return
    if is_parquet(head):
        raise InputContractError(
            f"{path}: input.format is {wanted}, but this is Parquet; set input.format to auto"
        )
    refuse_other(head, path)
    lines = first_lines(head)
    fits = {
        "trec": lambda: is_trec(lines),
        "jsonl": lambda: _begins_json_object(lines[0]),
        "tsv": lambda: b"\t" in lines[0],
        "csv": lambda: b"," in lines[0],
    }
    if not fits[wanted]():
        raise InputContractError(
            f"{path}: input.format is {wanted}, but the first line is not "
            f"{SPOKEN[wanted]}: {shown(lines[0])}; set input.format to auto, or name other files"
        )


def refuse_other(head: bytes, path: str) -> None:
    """Refuse what is neither Parquet nor text that could be read.

    Raises:
        InputContractError: says what it is, and what to do.
    """
    if not head.removeprefix(BOM).strip():
        raise InputContractError(f"{path}: the file is empty; delete it or write it again")
    if head.startswith(b"PARE") and not is_run(head):
        raise InputContractError(
            f"{path}: this is encrypted Parquet, which is not read; write it without encryption"
        )
    if not is_run(head):  # ids of a run may begin like anything
        known = binary_format(head)
        if known is not None:
            name, remedy = known
            raise InputContractError(f"{path}: this is {name}; {remedy}")
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputContractError(f"{path}: this is text in UTF-16; write it again as UTF-8")
        _refuse_other_text(head.removeprefix(BOM).lstrip(), path)
    control = sum(head.count(bytes([code])) for code in (*range(1, 9), *range(14, 27)))
    if control > _CONTROLS + len(head) // 25 or head.count(0) > _CONTROLS + len(head) // 4:
        raise InputContractError(
            f"{path}: this is binary, of a kind that is not known; formats that are read: "
            "Parquet, TREC runs, TSV, CSV, JSON lines, each also compressed with gzip, zstd or "
            "bzip2"
        )


def _refuse_other_text(start: bytes, path: str) -> None:
    if start.startswith(b"["):
        raise InputContractError(
            f"{path}: this is a JSON array, which can only be read as a whole; write an object a "
            "line, for example: jq -c '.[]' x.json > x.jsonl"
        )
    if _MARKUP.match(start):
        raise InputContractError(
            f"{path}: this is HTML or XML; was it downloaded from a page that asks for a login?"
        )
    if start.startswith(b"<DOC>"):
        raise InputContractError(
            f"{path}: this is a TREC collection in SGML; write its documents as JSON lines with "
            "doc_id, title and text"
        )


def first_lines(head: bytes) -> list[bytes]:
    """The first lines that are not blank, without a byte order mark; the last may be cut off."""
    lines = [line.rstrip(b"\r") for line in head.removeprefix(BOM).split(b"\n") if line.strip()]
    return lines[:_LINES]


def is_parquet(head: bytes) -> bool:
    """Whether a file is Parquet, and no TREC run whose first id begins as Parquet does."""
    return head.startswith(_PARQUET) and not is_run(head)


def is_run(head: bytes) -> bool:
    """Whether a file is a TREC run: lines of one, which begin with text."""
    lines = first_lines(head)
    # A file of Parquet may hold a run in a column of text, after a header of a few bytes.
    begins_with_text = not any(byte < 9 or 14 <= byte < 32 for byte in head[:_HEADER])
    return begins_with_text and bool(lines) and is_trec(lines)


def is_trec(lines: list[bytes]) -> bool:
    """Whether the first line, or most, have the six fields of a run, with rank and score."""
    if _is_run_line(lines[0].split()):
        return True
    whole = lines[:-1] if len(lines) > 1 else lines
    return 2 * sum(_is_run_line(line.split()) for line in whole) > len(whole)


def is_judgement(line: bytes) -> bool:
    """Whether a line is one of TREC's qrels: query_id 0 doc_id relevance."""
    fields = line.split()
    return (
        len(fields) == 4
        and fields[1] in (b"0", b"Q0")
        and _INTEGER.fullmatch(fields[3]) is not None
    )


def is_number(field: bytes) -> bool:
    """Whether a field is a number as runs have them."""
    return _NUMBER.fullmatch(field) is not None


def is_integer(field: bytes) -> bool:
    """Whether a field is a whole number."""
    return _INTEGER.fullmatch(field) is not None


def shown(line: bytes) -> str:
    """A line for a message, shortened."""
    text = line[: 4 * _MOST_SHOWN].decode("utf-8", errors="replace")
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def _is_run_line(fields: list[bytes]) -> bool:
    return len(fields) == 6 and is_integer(fields[3]) and is_number(fields[4])


def _is_json_object(line: bytes) -> bool:
    """Whether a line is a JSON object as a whole."""
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _begins_json_object(line: bytes) -> bool:
    """Whether a line begins a JSON object, which may be cut off, spread over lines, or broken."""
    return line.startswith(b"{") and (b"\t" not in line or _OBJECT.match(line) is not None)


def _refuse_spread_json(first: bytes, path: str) -> None:
    """Refuse one JSON document over many lines."""
    if first.rstrip() == b"{":
        raise InputContractError(
            f"{path}: this is a JSON document over several lines; write an object a line, for "
            "example: jq -c . x.json > x.jsonl"
        )


def _found(head: bytes, path: str) -> str:
    try:
        found = format_of(head, path)
    except InputContractError as error:
        return str(error).removeprefix(f"{path}: ")
    first = shown(first_lines(head)[0])
    return f"this is {SPOKEN[found]}: {first}; set input.format to auto or {found}"
