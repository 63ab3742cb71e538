"""Which column is which in lines of text: by a header, or by the layouts that are known without."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from shlex import quote
from typing import Final

from pipeline import schema
from pipeline.candidates.named_columns import spelled_otherwise
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.csv_rows import header_of
from pipeline.sources.kinds import (
    BOM,
    TREC_FIELDS,
    Format,
    first_lines,
    is_integer,
    is_judgement,
    is_number,
    shown,
)
from pipeline.sources.roles import ALIASES, Role

#: Columns of TSV without a header, by how many they are: MS MARCO's collection, documents, queries,
#: run and top1000 files (https://microsoft.github.io/msmarco).
HEADERLESS: Final[dict[Role, dict[int, tuple[str, ...]]]] = {
    "candidates": {
        3: (schema.QUERY_ID, schema.DOC_ID, schema.FIRST_STAGE_RANK),
        4: (schema.QUERY_ID, schema.DOC_ID, schema.QUERY, schema.TEXT),
    },
    "corpus": {
        2: (schema.DOC_ID, schema.TEXT),
        4: (schema.DOC_ID, "url", schema.TITLE, schema.TEXT),
    },
    "queries": {2: (schema.QUERY_ID, schema.QUERY)},
}

_IDS: Final[dict[Role, tuple[str, ...]]] = {
    "candidates": (schema.QUERY_ID, schema.DOC_ID),
    "corpus": (schema.DOC_ID,),
    "queries": (schema.QUERY_ID,),
}

_CONTENT: Final[dict[Role, tuple[str, ...]]] = {
    "candidates": (),
    "corpus": (schema.TITLE, schema.TEXT, schema.IMAGE),
    "queries": (schema.QUERY, schema.QUERY_IMAGE),
}


@dataclass(frozen=True, kw_only=True)
class TextLayout:
    """The fields of a line.

    Attributes:
        names: of its columns.
        first: byte of the content at which the first row begins.
        expected: a row in words, for messages.
    """

    names: tuple[str, ...]
    first: int
    expected: str


def text_layout(
    kind: Format, role: Role, head: bytes, *, path: str, config: InputConfig
) -> TextLayout:
    """The columns of a TREC run, of TSV, or of CSV.

    Args:
        kind: the format.
        role: of the file.
        head: its first bytes.
        path: for messages.
        config: names of columns that are mapped.

    Raises:
        InputContractError: it cannot be known which column is which; shows the first line.
    """
    if kind == "trec":
        if role != "candidates":
            raise InputContractError(
                f"{path}: this is a TREC run, which is a list of candidates, but input.{role} "
                f"names it; name it as input.path"
            )
        return TextLayout(names=TREC_FIELDS, first=0, expected=f"6 ({' '.join(TREC_FIELDS)})")
    lines = first_lines(head)
    if kind == "csv":
        names = header_of(head.removeprefix(BOM))
    else:
        names = tuple(_text(field) for field in lines[0].split(b"\t"))
    if _is_header(names, role, config):
        _refuse_twice(names, path)
        return TextLayout(
            names=names, first=_after_first_line(head) if kind == "tsv" else 0,
            expected=f"{len(names)} as in the header",
        )  # fmt: skip
    _refuse_other_spelling(names, role, path)
    if kind == "csv":
        raise _no_header(path, role, "CSV", lines[0])
    names = _headerless(role, lines, path)
    return TextLayout(
        names=names, first=0, expected=f"{len(names)} ({', '.join(names)}) between tabs"
    )


def _headerless(role: Role, lines: list[bytes], path: str) -> tuple[str, ...]:
    rows = [line.split(b"\t") for line in (lines[:-1] or lines)]
    if role == "candidates" and is_judgement(lines[0]):
        raise InputContractError(
            f"{path}: these are judgements (query_id 0 doc_id relevance), which are no candidates: "
            f"{shown(lines[0])}; name a run as input.path, and these with rerank evaluate --qrels"
        )
    found = [count for count, _ in Counter(map(len, rows)).most_common()]
    count = next((count for count in found if count in HEADERLESS[role]), found[0])
    names = HEADERLESS[role].get(count)
    if names is None:
        raise _no_header(path, role, f"TSV of {count} columns", lines[0])
    if role == "candidates":
        whole = [row for row in rows if len(row) == count]
        if count == 3 and not any(is_integer(row[2]) for row in whole):
            raise _no_header(path, role, "TSV of 3 columns, the last of which is no rank", lines[0])
        if count == 4 and all(is_number(row[2]) and is_number(row[3]) for row in whole):
            raise _no_header(path, role, "TSV of 4 columns, two of which are numbers", lines[0])
    return names


def _is_header(names: tuple[str, ...], role: Role, config: InputConfig) -> bool:
    """Whether a first line names the ids, and what goes with them."""

    def there(ours: str) -> bool:
        return config.columns.get(ours) in names or any(a in names for a in ALIASES[role][ours])

    if not all(there(ours) for ours in _IDS[role]):
        return False
    content = _CONTENT[role]
    return (
        not content
        or any(map(there, content))
        or any(name in names for name in config.text_columns or ())
    )


def _refuse_other_spelling(names: tuple[str, ...], role: Role, path: str) -> None:
    """Refuse a header that would be ours but for case, ``_``, ``-`` or blanks.

    Taken for a row, it would have columns be read in an order that is not theirs.
    """

    def spelling(ours: str) -> str | None:
        return spelled_otherwise(names, ALIASES[role][ours])

    ids = {ours: spelling(ours) for ours in _IDS[role]}
    content = [found for ours in _CONTENT[role] if (found := spelling(ours)) is not None]
    if None in ids.values() or (_CONTENT[role] and not content):
        return
    ours, own = next(iter(ids.items()))
    raise InputContractError(
        f"{path}: the first line looks like a header ({', '.join(names)}), but names columns in "
        f"another spelling than is read; write them as {', '.join(ALIASES[role][ours])} and so on, "
        f"or map each, for example with --set input.columns.{ours}={quote(str(own))}"
    )


def _no_header(path: str, role: Role, found: str, line: bytes) -> InputContractError:
    known = "; or ".join(", ".join(names) for names in HEADERLESS[role].values())
    ids = ", ".join((*_IDS[role], *_CONTENT[role][-2:-1]))
    return InputContractError(
        f"{path}: this is {found} without a header that names {', '.join(_IDS[role])}: "
        f"{shown(line)}; write a first line with the names of the columns (such as {ids}), or map "
        f"yours with input.columns. Without a header TSV can be: {known}"
    )


def _refuse_twice(names: tuple[str, ...], path: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputContractError(
            f"{path}: column '{twice}' stands twice in the header, so it is not known which one is "
            "meant; rename one"
        )


def _after_first_line(head: bytes) -> int:
    """Byte after the first line that is not blank."""
    place = len(BOM) if head.startswith(BOM) else 0
    while True:
        end = head.find(b"\n", place)
        if end < 0:
            return len(head)
        if head[place:end].strip():
            return end + 1
        place = end + 1


def _text(field: bytes) -> str:
    return field.decode("utf-8", errors="replace").strip()
