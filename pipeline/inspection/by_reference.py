"""An input that a run converts first, as plain data: text formats, and candidates that are ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.canonical import INVALID_QUERY
from pipeline.candidates.grouping import group_rows
from pipeline.candidates.lists import CandidateLists
from pipeline.config import InputConfig, JobConfig
from pipeline.errors import InputContractError
from pipeline.inspection.contents import content_facts
from pipeline.inspection.files import Refusal
from pipeline.inspection.oddities import oddities
from pipeline.inspection.queries import counted_facts, order_facts
from pipeline.inspection.referred import Referred, read_referred
from pipeline.inspection.referring import Candidates, key_text, read_candidates
from pipeline.inspection.units import unit_facts
from pipeline.sources.source import Role, Source, open_source

#: Where the facts of what candidates refer to stand; `queries` are those that have candidates.
_KEYS = {"corpus": "corpus", "queries": "queries_source"}

#: Reasons of candidates whose document, or query, is not there.
MISSING_DOCUMENT = "missing_document"
MISSING_QUERY = "missing_query"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What an input is made of, as far as it can be opened."""

    candidates: Source | None
    corpus: Source | None
    queries: Source | None

    @property
    def only_parquet(self) -> bool:
        """Whether the candidates are Parquet, and nothing stands beside them."""
        if self.candidates is None or self.corpus is not None or self.queries is not None:
            return False
        return self.candidates.format == "parquet" and not self.candidates.conditions


def open_all(
    config: InputConfig, *, pass_through: tuple[str, ...] = ()
) -> tuple[Sources, list[Refusal]]:
    """Open candidates, corpus and queries; a refusal for each of them that a run would refuse.

    Raises:
        ConfigurationError: a setting is wrong whatever the files are.
        NotFoundError: a path matches nothing.
    """
    found: dict[str, Source | None] = {}
    refusals = []
    roles: tuple[tuple[Role, tuple[str, ...] | None], ...] = (
        ("candidates", config.path),
        ("corpus", config.corpus),
        ("queries", config.queries),
    )
    for role, paths in roles:
        found[role] = None
        if paths is None:
            continue
        try:
            found[role] = open_source(role, paths, config, pass_through=pass_through)
        except InputContractError as error:
            refusals.append(Refusal(path=paths[0], message=str(error)))
    return Sources(**found), refusals


def reference_facts(
    config: JobConfig, sources: Sources, refusals: list[Refusal], *, sample: int
) -> dict[str, Any]:
    """What :func:`pipeline.inspection.inspect.inspect` gives, of such an input.

    Args:
        config: the job, with the files of a BEIR collection named.
        sources: what it is made of.
        refusals: takes what a run would stop at.
        sample: candidates that are looked at more closely.
    """
    source = sources.candidates
    if source is None:
        return {"input": nothing_read(config)}
    try:
        read = read_candidates(source, sample=sample)
    except InputContractError as error:
        refusals.append(Refusal(path="", message=str(error)))
        return {"input": _input(config, source, None)}
    rows = pa.concat_tables(read.sample) if read.sample else source.schema.empty_table()
    beside: dict[str, Any] = {}
    for role, name, content, asked, missing in (
        ("queries", schema.QUERY_ID, [schema.QUERY], read.queries, MISSING_QUERY),
        ("corpus", schema.DOC_ID, [schema.TITLE, schema.TEXT], read.documents, MISSING_DOCUMENT),
    ):
        referred = _referred(getattr(sources, role), name, content, rows, refusals, role)
        if referred is not None:
            paths = list(getattr(config.input, role))
            beside[_KEYS[role]] = referred.facts(getattr(sources, role), asked, paths)
            rows = _with(rows, referred, name, content, missing)
    scattered = read.order.kind == "scattered"
    lists = _lists(rows, config.input.text_separator, scattered=scattered)
    facts: dict[str, Any] = {
        "input": _input(config, source, read),
        **beside,
        **_columns(config, source),
        "order": order_facts(read.order),
        **_counts(read, scattered=scattered),
        "sample": {
            "candidates": rows.num_rows,
            "queries": sum(map(len, lists)),
            "whole": read.sample_whole,
        },
        "contents": content_facts(lists, source.schema.names),
        "units": unit_facts(config, None, lists, candidates=read.rows),
    }
    return facts | {"warnings": [*_missing(beside), *oddities(facts, lists, config)]}


def nothing_read(config: JobConfig) -> dict[str, Any]:
    """What is said of the files of an input of which none can be read."""
    return _input(config, None, None)


def _input(config: JobConfig, source: Source | None, read: Candidates | None) -> dict[str, Any]:
    files = () if source is None else source.files
    by_ids = config.input.corpus is not None or config.input.queries is not None
    layout = None if source is None else "by reference" if by_ids else "converted first"
    groups = 0 if source is None else sum(len(one.groups) for one in source.opened)
    return {
        "path": list(config.input.path),
        "format": config.input.format if source is None else source.format,
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "layout": layout,
        "row_groups": groups,
        "rows": 0 if read is None else read.rows,
        "files_read": len(files),
        "files_without_rows": 0,
    }


def _referred(
    source: Source | None, name: str, content: list[str], rows: pa.Table,
    refusals: list[Refusal], role: str,
) -> Referred | None:  # fmt: skip
    if source is None:
        return None
    wanted = key_text(rows.column(name)).unique().drop_null()
    try:
        found = read_referred(source, name, content, wanted)
    except InputContractError as error:
        refusals.append(Refusal(path="", message=str(error)))
        return None
    if found.differing is not None:
        told = (
            f"input.{role}: id {found.differing!r} stands twice with different contents"
            f"{f', and so do {found.differ - 1:,} others' if found.differ > 1 else ''}; keep one "
            "row of each id"
        )
        refusals.append(Refusal(path="", message=told))
    return found


def _with(
    rows: pa.Table, referred: Referred, name: str, content: Sequence[str], missing: str
) -> pa.Table:
    """Candidates [N] with the texts that they refer to, and a reason where there are none."""
    keys = key_text(rows.column(name))
    places = pc.index_in(keys, value_set=referred.found.column("_key").combine_chunks())
    for one in (*content, schema.REASON):
        if one not in referred.found.column_names:
            continue
        values = referred.found.column(one).combine_chunks().take(places)
        if one == schema.REASON:
            absent = pc.and_(pc.is_null(places), pc.is_valid(keys))
            if referred.whole:
                values = pc.if_else(absent, missing, values)
            values = pc.coalesce(rows.column(one).combine_chunks(), values)
        if one in rows.column_names:
            rows = rows.set_column(rows.column_names.index(one), one, values)
        else:
            rows = rows.append_column(one, values)
    return rows


def _lists(rows: pa.Table, separator: str, *, scattered: bool) -> list[CandidateLists]:
    """Rows as candidate lists, with the reasons that a run would find and those that they have."""
    if rows.num_rows == 0:
        return []
    if scattered:
        rows = rows.take(pc.sort_indices(rows.column(schema.QUERY_ID)))
    rows = rows.combine_chunks()
    count = rows.num_rows
    nothing = pa.nulls(count, pa.string())
    has = set(rows.column_names)
    queries = {
        schema.QUERY_ID: rows.column(schema.QUERY_ID),
        schema.QUERY: rows.column(schema.QUERY) if schema.QUERY in has else nothing,
        INVALID_QUERY: pa.array(np.zeros(count, dtype=bool)),
    }
    numbers = {schema.FIRST_STAGE_SCORE: pa.float64(), schema.FIRST_STAGE_RANK: pa.int32()}
    documents = {
        schema.DOC_ID: rows.column(schema.DOC_ID),
        schema.TEXT: _text(rows, separator),
        schema.REASON: nothing,
        **{
            name: rows.column(name) if name in has else pa.nulls(count, kind)
            for name, kind in numbers.items()
        },
    }
    if schema.IMAGE in has:
        documents[schema.IMAGE] = rows.column(schema.IMAGE)
    lists = group_rows(pa.table(queries), pa.table(documents))
    table = lists.documents
    given = pc.coalesce(rows.column(schema.REASON), table.column(schema.REASON))
    place = table.column_names.index(schema.REASON)
    return [
        CandidateLists(
            queries=lists.queries,
            offsets=lists.offsets,
            documents=table.set_column(place, schema.REASON, given),
        )
    ]


def _text(rows: pa.Table, separator: str) -> pa.Array:
    """Title and text in one, where there are both."""
    parts = [rows.column(name) for name in (schema.TITLE, schema.TEXT) if name in rows.column_names]
    if not parts:
        return pa.nulls(rows.num_rows, pa.string())
    texts = [part.cast(pa.string()).combine_chunks() for part in parts]
    if len(texts) == 1:
        return texts[0]
    title = pc.if_else(pc.equal(texts[0], ""), pa.scalar(None, pa.string()), texts[0])
    both = pc.binary_join_element_wise(title, texts[1], separator)
    return pc.coalesce(both, texts[1], title)


def _columns(config: JobConfig, source: Source) -> dict[str, Any]:
    columns = source.opened[0].columns
    return {
        "columns": [
            {
                "name": ours,
                "column": own,
                "level": "candidate" if ours in columns.inner else "query",
                "found_by": "input.columns"
                if config.input.columns.get(ours) == own
                else "name"
                if ours == own
                else "alias",
                "type": str(source.schema.field(ours).type),
            }
            for ours, own in {**columns.outer, **columns.inner}.items()
        ],
        "unused_columns": [],
    }


def _counts(read: Candidates, *, scattered: bool) -> dict[str, Any]:
    """Queries and candidates, which the rows that were read tell, if those are all."""
    if not read.whole:
        nothing = {"count": None, "source": "unknown"}
        return {
            "queries": nothing,
            "candidates": nothing,
            "candidates_per_query": None,
            "giants": [],
        }
    return counted_facts(read.runs, read.rows, merged=scattered, source="every row")


def _missing(beside: dict[str, Any]) -> list[str]:
    told = []
    for role, what in (("corpus", "documents"), ("queries", "queries")):
        found = beside.get(_KEYS[role])
        if found is None:
            continue
        if found["missing_references"]:
            whose = "candidates" if role == "corpus" else "candidate lists"
            told.append(
                f"{what} that input.{role} does not have: {found['missing_ids']:,}, to which "
                f"{found['missing_references']:,} {whose} refer; they would not be scored"
            )
        if not found["whole"]:
            told.append(f"input.{role} is too large to be looked through for what is missing")
    return told
