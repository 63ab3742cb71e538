"""A run: the documents of every query, best first; from ranked Parquet or from a TREC run file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.ranking.others import Others
from pipeline.ranking.qrels import numbered_lines, parse_integer, shown, split_fields

TREC_RUN: Final = "query_id Q0 doc_id rank score tag"


@dataclass(frozen=True)
class Run:
    """One ordering per query.

    Attributes:
        name: what reports call this run.
        rankings: document ids best first by query id, no document twice in a query.
    """

    name: str
    rankings: Mapping[str, list[str]]

    def scores(self, queries: Iterable[str]) -> dict[str, dict[str, float]]:
        """Scores that make trec_eval see exactly this order: minus the rank (-1, -2, …).

        trec_eval ignores ranks. It sorts by score, as float32, and breaks ties by document id
        *descending*, so the model's own scores, with their ties, would be evaluated in an order
        that nobody wrote. Minus the rank is strictly decreasing and exact in float32 up to 2**24.

        Args:
            queries: ids of the queries to give; all must be in the run.
        """
        return {
            query: {doc: -float(rank) for rank, doc in enumerate(self.rankings[query], start=1)}
            for query in queries
        }


def ranked_run(table: pa.Table, name: str) -> Run:
    """The reranked order (column ``rank``) of a ranked output; see :func:`first_stage_run`."""
    return ranked_by(table, schema.RANK, name)


def first_stage_run(table: pa.Table, name: str) -> Run:
    """The order in which candidates came in (column ``first_stage_rank``).

    Args:
        table: at least query_id, doc_id (strings or integers) and the rank (integer, 1 = best);
            rows in any order. Equal ranks are ordered by doc_id ascending, in the column's type.
        name: what reports call the run.

    Raises:
        InputContractError: a column is missing or holds nulls, or a document is twice in a query.
    """
    return ranked_by(table, schema.FIRST_STAGE_RANK, name)


def named_once(table: pa.Table) -> pa.Table:
    """The rows of a ranked output that name a document of a list, each document once.

    A candidate without an id, or whose id stands in its list before, keeps its row in the output,
    with a reason in place of a score; it has no place in an order of documents. Rows without a
    reason all stay: what is wrong with those, a run refuses.

    Args:
        table: at least query_id, doc_id and reason; the row of a list that is kept comes first.
    """
    table = table.combine_chunks()
    rejected = pc.is_valid(table.column(schema.REASON)).to_numpy()
    if not rejected.any():
        return table
    queries, docs = (table.column(name).to_pylist() for name in (schema.QUERY_ID, schema.DOC_ID))
    pairs = list(zip(queries, docs, strict=True))
    seen = {pair for pair, out in zip(pairs, rejected.tolist(), strict=True) if not out}
    kept = ~rejected
    for row in np.flatnonzero(rejected).tolist():
        if None not in pairs[row] and pairs[row] not in seen:
            seen.add(pairs[row])
            kept[row] = True
    return table.filter(pa.array(kept))


def parse_trec_run(
    data: bytes | str, source: str, name: str, *, others: Others | None = None
) -> Run:
    """Parse a TREC run: six fields ``query_id Q0 doc_id rank score tag``, blank or tab separated.

    Documents are ordered by score descending, as trec_eval does it; ties by the given rank, and
    equal ranks by the order of lines.

    Args:
        data: content of the file; bytes are UTF-8.
        source: where the content is from, for errors.
        name: what reports call the run.
        others: takes the queries without judgements, whose documents are not kept; None: all are.

    Raises:
        InputContractError: a line has another form, its rank is not an integer or its score not a
            number, a document is twice in a query, or the file holds no line.
    """
    found: dict[str, dict[str, tuple[float, int]]] = {}
    left_out: set[str] = set()
    for number, line in numbered_lines(data, source):
        place = f"{source}, line {number}"
        fields = split_fields(line, 6)
        if len(fields) != 6:
            raise InputContractError(
                f"{place}: expected 6 fields '{TREC_RUN}', found {len(fields)}: "
                f"{shown(line.strip())}"
            )
        query_id, _, doc_id, rank_text, score_text, _ = fields
        rank, score = parse_integer(rank_text), _number(score_text)
        if rank is None:
            raise InputContractError(f"{place}: expected an integer rank, found {shown(rank_text)}")
        if math.isnan(score):
            raise InputContractError(
                f"{place}: expected a number as score, found {shown(score_text)}"
            )
        if others is not None and query_id not in others.judged:
            left_out.add(query_id)
            continue
        documents = found.setdefault(query_id, {})
        if doc_id in documents:
            raise InputContractError(
                f"{place}: document '{doc_id}' is listed twice for query '{query_id}'; "
                "expected every document once"
            )
        documents[doc_id] = (-score, rank)
    if not found and not left_out:
        raise InputContractError(f"{source}: no line found; expected lines '{TREC_RUN}'")
    if others is not None:
        others.add(sorted(left_out))
    return Run(name, {query: sorted(docs, key=docs.__getitem__) for query, docs in found.items()})


def _number(text: str) -> float:
    """The number, or NaN where the text is none. Python's digit separators are refused."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def ranked_by(table: pa.Table, rank: str, name: str) -> Run:
    """The order of the column ``rank``; see :func:`first_stage_run`."""
    wanted = [schema.QUERY_ID, schema.DOC_ID, rank]
    missing = [column for column in wanted if column not in table.column_names]
    if missing:
        raise InputContractError(
            f"run '{name}': missing column '{missing[0]}'; expected {', '.join(wanted)}; "
            f"columns found: {', '.join(table.column_names) or 'none'}"
        )
    table = table.select(wanted)
    for column in wanted:
        if table[column].null_count:
            raise InputContractError(
                f"run '{name}': column '{column}' holds {table[column].null_count} null(s); "
                "expected a value in every row"
            )
    if not pa.types.is_integer(table.schema.field(rank).type):
        raise InputContractError(
            f"run '{name}': column '{rank}' holds {table.schema.field(rank).type}; "
            "expected integers, 1 = best"
        )
    table = pa.table({column: _plain(table[column]) for column in wanted})
    table = table.sort_by([(rank, "ascending"), (schema.DOC_ID, "ascending")])
    queries, docs = (table[column].cast(pa.large_string()).to_pylist() for column in wanted[:2])
    rankings: dict[str, list[str]] = {}
    for query, doc in zip(queries, docs, strict=True):
        rankings.setdefault(query, []).append(doc)
    for query, ranking in rankings.items():
        if len(set(ranking)) != len(ranking):
            twice = next(doc for doc in ranking if ranking.count(doc) > 1)
            raise InputContractError(
                f"run '{name}': document '{twice}' is listed twice for query '{query}'; "
                "expected every document once (was the same output read twice?)"
            )
    return Run(name, rankings)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers or text in a type that Arrow can sort (dictionaries and views it cannot)."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.cast(kind if pa.types.is_integer(kind) else pa.large_string())
