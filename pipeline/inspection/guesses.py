"""Columns that are probably ours under names that are no known alias: a proposal to look at.

Names of public data sets and of common retrieval tools, compared without case and punctuation. A
run never guesses: what is found here becomes ``input.columns`` of a configuration that people read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import is_list_of_structs, is_text, plain_type

#: Beside the aliases. Distances are left out: where they are small, documents are near.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    schema.QUERY_ID: (
        "queryid", "qid", "searchid", "topicid", "topicno", "questionid", "queryno", "requestid",
        "querynumber", "promptid",
    ),
    schema.QUERY: (
        "query", "querytext", "q", "search", "searchquery", "searchterm", "querystring",
        "question", "keywords", "anchor", "prompt", "topic",
    ),
    schema.DOC_ID: (
        "docid", "documentid", "passageid", "itemid", "productid", "chunkid", "articleid",
        "nodeid", "docno", "pid", "asin", "sku", "url", "id",
    ),
    schema.TEXT: (
        "text", "passagetext", "documenttext", "doctext", "chunktext", "pagecontent", "content",
        "contents", "body", "passage", "document", "chunk", "snippet", "description",
        "productdescription", "abstract",
    ),
    schema.CANDIDATES: ("candidates", "results", "retrieved", "hits", "docs", "ctxs", "items"),
}  # fmt: skip

_OF_QUERIES: Final = (schema.QUERY_ID, schema.QUERY)
_OF_CANDIDATES: Final = (schema.DOC_ID, schema.TEXT)


def guessed_columns(arrow: pa.Schema, explicit: Mapping[str, str]) -> dict[str, str] | None:
    """``our name -> the file's`` for what neither a name nor an alias finds, with ``explicit``.

    Args:
        arrow: the file's schema.
        explicit: ``input.columns`` as it is.

    Returns:
        None where the columns that every input needs cannot all be guessed.
    """
    found = dict(explicit)
    fields = list(arrow)
    listed = [field for field in arrow if is_list_of_structs(field.type)]
    if len(listed) == 1 and (_found(schema.CANDIDATES, arrow.names, found) or not _long(fields)):
        if not _found(schema.CANDIDATES, arrow.names, found):
            found[schema.CANDIDATES] = listed[0].name
        kind = listed[0].type.value_type
        fields = [kind.field(place) for place in range(kind.num_fields)]
    guessed = _guess(_OF_QUERIES, arrow, found) and _guess(_OF_CANDIDATES, fields, found)
    return found if guessed else None


def _long(fields: Iterable[pa.Field]) -> bool:
    return any(_plain(field.name) in _NAMES[schema.DOC_ID][:-1] for field in fields)


def _guess(wanted: Iterable[str], fields: Iterable[pa.Field], found: dict[str, str]) -> bool:
    """Add what is guessed; whether nothing is missing."""
    known = {field.name: field.type for field in fields}
    for name in wanted:
        if _found(name, list(known), found):
            continue
        taken = set(found.values())
        fitting = {
            _plain(column): column
            for column, kind in known.items()
            if column not in taken and _fits(name, kind)
        }
        match = next((fitting[guess] for guess in _NAMES[name] if guess in fitting), None)
        if match is None:
            return False
        found[name] = match
    return True


def _found(name: str, columns: Iterable[str], explicit: Mapping[str, str]) -> bool:
    return name in explicit or any(alias in columns for alias in schema.ALIASES[name])


def _fits(name: str, kind: pa.DataType) -> bool:
    plain = plain_type(kind)
    ids = name in (schema.QUERY_ID, schema.DOC_ID)
    return is_text(plain) or (ids and bool(pa.types.is_integer(plain)))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
