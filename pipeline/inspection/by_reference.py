"""An input that a run converts first, as plain data: text formats, and candidates that are ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.config import InputConfig, JobConfig
from pipeline.inspection.attached import lists_of, with_referred
from pipeline.inspection.contents import content_facts
from pipeline.inspection.files import Refusal
from pipeline.inspection.oddities import oddities
from pipeline.inspection.queries import counted_facts, order_facts
from pipeline.inspection.referred import Referred, read_referred
from pipeline.inspection.referring import Candidates, key_text, read_candidates
from pipeline.inspection.role_files import open_role
from pipeline.inspection.tables import table_facts
from pipeline.inspection.units import unit_facts
from pipeline.sources.source import Role, Source

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
    """Open candidates, corpus and queries; a refusal for each file that a run would refuse.

    Raises:
        ConfigurationError: a setting is wrong whatever the files are.
        NotFoundError: a path matches nothing.
    """
    found: dict[str, Source | None] = {}
    refusals: list[Refusal] = []
    roles: tuple[tuple[Role, tuple[str, ...] | None], ...] = (
        ("candidates", config.path),
        ("corpus", config.corpus),
        ("queries", config.queries),
    )
    for role, paths in roles:
        found[role] = None
        if paths is None:
            continue
        found[role], refused = open_role(role, paths, config, pass_through=pass_through)
        refusals += refused
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
    read = read_candidates(source, sample=sample)
    refusals += [Refusal(path="", message=message) for message in read.damage]
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
            rows = with_referred(rows, referred, name, content, missing)
    scattered = read.order.kind == "scattered"
    lists = lists_of(rows, config.input.text_separator, scattered=scattered)
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
        "tables": [] if source is None else table_facts(source),
    }


def _referred(
    source: Source | None, name: str, content: list[str], rows: pa.Table,
    refusals: list[Refusal], role: str,
) -> Referred | None:  # fmt: skip
    if source is None:
        return None
    wanted = key_text(rows.column(name)).unique().drop_null()
    found = read_referred(source, name, content, wanted)
    refusals += [Refusal(path="", message=message) for message in found.damage]
    if found.differing is not None:
        told = (
            f"input.{role}: id {found.differing!r} stands twice with different contents"
            f"{f', and so do {found.differ - 1:,} others' if found.differ > 1 else ''}; keep one "
            "row of each id"
        )
        refusals.append(Refusal(path="", message=told))
    return found


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
        if not found["whole"] and not found["damaged"]:
            told.append(f"input.{role} is too large to be looked through for what is missing")
    return told
