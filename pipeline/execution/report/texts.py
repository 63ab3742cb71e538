"""Texts of a few candidate lists: from a run's own rows, or from the input that it was made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import Plan
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import ConfigurationError, RerankError

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Texts:
    """Texts by ids, which are text here; what is not known is not there.

    Attributes:
        queries: by query id.
        documents: by query id and document id, for a text may differ from list to list.
    """

    queries: dict[str, str] = field(default_factory=dict)
    documents: dict[tuple[str, str], str] = field(default_factory=dict)


def copied_column(described: Mapping[str, Any]) -> str | None:
    """The column of a run's rows that holds a document's text or title; None without one."""
    config = described["config"]
    copied = config["output"].get("columns") or []
    for name in (schema.TEXT, schema.TITLE):
        own = config["input"].get("columns", {}).get(name)
        for known in (own, *schema.ALIASES[name]):
            if known in copied:
                return str(known)
    return None


def texts_of_rows(table: pa.Table, column: str) -> Texts:
    """What rows of a run hold of their documents; of their queries they hold ids only."""
    names = (schema.QUERY_ID, schema.DOC_ID, column)
    query_ids, doc_ids, texts = (_texts(table.column(name)) for name in names)
    found = zip(query_ids, doc_ids, texts, strict=True)
    return Texts(documents={(q, d): t for q, d, t in found if q and d and t})


def texts_of_input(
    described: Mapping[str, Any], plan: Plan, units: Mapping[str, Sequence[str]]
) -> tuple[Texts, str | None]:
    """What the input of a run holds of some lists, one unit at a time.

    Args:
        described: content of the run's ``run.json``.
        plan: its plan.
        units: query ids by unit.

    Returns:
        The texts, and why there are none, or not all.
    """
    found = Texts()
    try:
        source = _input_of(described)
        separator = described["config"]["input"].get("text_separator", " ")
        for unit in plan.units:
            if unit.name in units:
                _add(found, source, (unit.start, unit.stop), separator, set(units[unit.name]))
    except RerankError as error:
        logger.warning("the report has no texts of the input: %s", error)
        return found, str(error)
    return found, None


def _input_of(described: Mapping[str, Any]) -> Input:
    """The input of a run, or the staged copy that it read, as it was.

    Raises:
        RerankError: it is gone, or is another one now.
    """
    staging = described.get("staging")
    given = described["config"]["input"] if staging is None else staging["input"]
    source = open_input(InputConfig.model_validate(given), staged=staging is not None)
    known = {file["path"]: file for file in described["input"]}
    for file in source.files:
        now = file.identity.described()
        before = known.get(now["path"])
        if before is None or any(before[name] != value for name, value in now.items()):
            raise ConfigurationError(f"{now['path']}: is not what the run was made of any more")
    return source


def _add(
    found: Texts, source: Input, rows: tuple[int, int], separator: str, wanted: set[str]
) -> None:
    lists = read_lists(source, *rows, separator=separator)
    query_ids = _texts(lists.queries.column(schema.QUERY_ID))
    queries = _texts(lists.queries.column(schema.QUERY))
    for place, (query_id, query) in enumerate(zip(query_ids, queries, strict=True)):
        if query_id is None or query_id not in wanted:
            continue
        if query is not None:
            found.queries[query_id] = query
        first, stop = lists.offsets[place : place + 2].tolist()
        documents = lists.documents.slice(first, stop - first)
        pairs = zip(
            _texts(documents.column(schema.DOC_ID)),
            _texts(documents.column(schema.TEXT)),
            strict=True,
        )
        found.documents.update({(query_id, d): t for d, t in pairs if d is not None and t})


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """Values as text; a value that is no UTF-8 is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        values: list[str | None] = pc.cast(column, pa.large_string()).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError):
        return [None] * len(column)
    return values
