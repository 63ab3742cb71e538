"""The examples of a page that somebody asks for: those that judgements point to, with texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import schema
from pipeline.candidates.planning import Plan
from pipeline.errors import RerankError
from pipeline.execution.report.examples import COLUMNS, MOST_LISTS, examples_of
from pipeline.execution.report.judged import most_changed
from pipeline.execution.report.texts import Texts, copied_column, texts_of_input, texts_of_rows
from pipeline.execution.report.units import rows_by_unit, sampled
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts

logger = logging.getLogger("pipeline")


def with_examples(
    data: Mapping[str, Any],
    folder: RunFolder,
    described: Mapping[str, Any],
    plan: Plan,
    units: Sequence[UnitCounts],
    *,
    judged: Mapping[str, Mapping[str, int]] | None,
    read_input: bool,
) -> dict[str, Any]:
    """The contents of a page with its examples made anew.

    Args:
        data: see :func:`pipeline.execution.report.contents.contents`.
        folder: the run.
        described: content of its ``run.json``.
        plan: its plan.
        units: its committed units.
        judged: relevance by query id and document id; then the examples are the queries that won
            and lost most. None: those that the contents hold.
        read_input: whether texts are read from the run's input where its rows hold none.
    """
    changes = None if judged is None else most_changed(data["evaluation"], MOST_LISTS)
    queries = [row["query_id"] for row in data["examples"]] if changes is None else list(changes)
    if not queries:
        return {**data, "examples": []}
    column = copied_column(described)
    columns = [*COLUMNS, *([column] if column else [])]
    # Examples that the contents hold are of a sample, which alone is looked through again.
    looked_through = units if judged is not None else sampled(units)
    held = dict(rows_by_unit(folder, looked_through, queries, columns, damaged=_left_out))
    tables = list(held.values())
    texts, note = Texts(), None
    if read_input:
        lists = {
            unit: table.column(schema.QUERY_ID).unique().to_pylist() for unit, table in held.items()
        }
        texts, note = texts_of_input(described, plan, lists)
    if column is not None:
        for table in tables:
            texts.documents.update(
                {
                    pair: text
                    for pair, text in texts_of_rows(table, column).documents.items()
                    if pair not in texts.documents
                }
            )
    examples = examples_of(tables, queries, texts, changes=changes, qrels=judged)
    said = None if note is None else f"Texts could not be read from the input: {note}"
    return {**data, "examples": examples, "examples_note": said}


def _left_out(error: RerankError) -> None:
    logger.warning("left out of the examples: %s", error)
