"""Evaluate a run against relevance judgements: ``rerank evaluate RUN --qrels F``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.evaluate")

import json
from typing import Annotated

import typer

from jobs.command import command, console, run_job
from pipeline import schema
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import find_run
from pipeline.ranking.comparison import compare
from pipeline.ranking.evaluation import evaluate, refuse_other_ids
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import (
    Run,
    first_stage_run,
    named_once,
    parse_trec_run,
    ranked_run,
)
from pipeline.reports.evaluation_table import (
    as_json,
    changes_table,
    comparison_table,
    evaluation_table,
)
from pipeline.storage.store import is_folder, read_bytes

_COLUMNS = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.RANK,
    schema.FIRST_STAGE_RANK,
    schema.REASON,
)


def evaluate_run(
    run: Annotated[str, typer.Argument(help="A run or output folder, or a TREC run file.")],
    qrels: Annotated[str, typer.Option("--qrels", help="Judgements: TREC or BEIR form.")],
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", help="As ir-measures writes it, e.g. nDCG@10; repeatable."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Compare with this run; default: its own first stage."),
    ] = None,
    changes: Annotated[
        int, typer.Option("--changes", min=0, help="Show this many of the biggest changes.")
    ] = 5,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Compare a ranked run with its first stage, or with another run, on relevance judgements."""
    with command():
        judged = read_qrels(read_bytes(qrels), qrels)
        measures = tuple(measure or ("nDCG@10", "RR@10", "R@100"))
        first, ranked = _runs(run)
        if baseline is not None:
            first = _runs(baseline)[1]
        for order in (ranked, first):
            if order is not None:
                refuse_other_ids(order, judged)
        after = evaluate(ranked, judged, measures)
        if first is None:
            evaluations, comparisons = [after], []
        else:
            before = evaluate(first, judged, measures)
            evaluations = [before, after]
            comparisons = [compare(before, after, examples=max(changes, 1))]
        if to_json:
            typer.echo(json.dumps(as_json(evaluations, comparisons), indent=2))
            return
        if not comparisons:
            console.print(evaluation_table(evaluations))
        for comparison in comparisons:
            console.print(comparison_table(comparison))
            if changes:
                console.print(changes_table(comparison.measures[0]))


def _runs(path: str) -> tuple[Run | None, Run]:
    """First stage and reranked order of one of our runs; a TREC run has only itself."""
    if not is_folder(path):
        return None, parse_trec_run(read_bytes(path), path, path.rsplit("/", 1)[-1])
    table = named_once(read_ranked(find_run(path), columns=_COLUMNS))
    return first_stage_run(table, "first stage"), ranked_run(table, "reranked")


def main() -> None:
    """Entry point of ``python -m jobs.evaluate``."""
    run_job(evaluate_run)
