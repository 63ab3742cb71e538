"""Evaluate a run against relevance judgements: ``rerank evaluate RUN --qrels F``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.evaluate")

import json
from typing import Annotated

import typer
from rich.console import Group

from jobs.command import command, console, run_job
from pipeline import schema
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import find_run
from pipeline.ranking.comparison import Comparison, compare
from pipeline.ranking.evaluation import evaluate, refuse_other_ids
from pipeline.ranking.fusion_tuning import Qrels, described, tune
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import (
    Run,
    first_stage_run,
    named_once,
    parse_trec_run,
    ranked_by,
    ranked_run,
)
from pipeline.reports.evaluation_table import (
    as_json,
    changes_table,
    comparison_table,
    evaluation_table,
    tuning_table,
)
from pipeline.storage.store import is_folder, read_bytes

_COLUMNS = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.RANK,
    schema.FIRST_STAGE_RANK,
    schema.REASON,
)
_SCORES = (schema.SCORE, schema.FIRST_STAGE_SCORE)
_FUSED = "fused"


def evaluate_run(
    run: Annotated[str, typer.Argument(help="A run or output folder, or a TREC run file.")],
    qrels: Annotated[
        str, typer.Option("--qrels", help="Judgements: TREC, BEIR, CSV, JSON, Parquet.")
    ],
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
    tune_fusion: Annotated[
        bool,
        typer.Option(
            "--tune-fusion",
            help="Find the output.fusion that is best by the first measure on a share of the "
            "judged queries, and measure it on the others.",
        ),
    ] = False,
    tune_share: Annotated[
        float, typer.Option("--tune-share", min=0.05, max=0.95, help="That share.")
    ] = 0.5,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Compare a ranked run with its first stage, or with another run, on relevance judgements."""
    with command():
        judged = read_qrels(read_bytes(qrels), qrels)
        measures = tuple(measure or ("nDCG@10", "RR@10", "R@100"))
        if tune_fusion:
            _tune(run, judged, measures, tune_share, to_json)
            return
        first, ranked, fused = _runs(run)
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
        if fused is not None:
            evaluations.append(evaluate(fused, judged, measures))
            comparisons += [
                compare(one, evaluations[-1], examples=max(changes, 1)) for one in evaluations[:-1]
            ]
        if to_json:
            typer.echo(json.dumps(as_json(evaluations, comparisons), indent=2))
            return
        console.print(evaluation_table(evaluations))
        for comparison in comparisons:
            console.print(_comparison(comparison))
            if changes and comparison is comparisons[0]:
                console.print(changes_table(comparison.measures[0]))


def _comparison(comparison: Comparison) -> Group:
    if comparison.other == _FUSED:
        return comparison_table(comparison, headings=(comparison.baseline, _FUSED))
    return comparison_table(comparison)


def _runs(path: str) -> tuple[Run | None, Run, Run | None]:
    """First stage, reranked and fused order of one of our runs; a TREC run has only itself."""
    if not is_folder(path):
        return None, parse_trec_run(read_bytes(path), path, path.rsplit("/", 1)[-1]), None
    folder = find_run(path)
    fuses = folder.describe()["config"]["output"].get("fusion") is not None
    columns = (*_COLUMNS, schema.FUSED_RANK) if fuses else _COLUMNS
    table = named_once(read_ranked(folder, columns=columns))
    fused = ranked_by(table, schema.FUSED_RANK, _FUSED) if fuses else None
    return first_stage_run(table, "first stage"), ranked_run(table, "reranked"), fused


def _tune(run: str, judged: Qrels, measures: tuple[str, ...], share: float, to_json: bool) -> None:
    if not is_folder(run):
        raise ConfigurationError(
            f"--tune-fusion: '{run}' is no run of ours; a TREC run has one order and one score"
        )
    table = named_once(read_ranked(find_run(run), columns=(*_COLUMNS, *_SCORES)))
    refuse_other_ids(ranked_run(table, "reranked"), judged)
    found = tune(table, judged, tuned_by=measures[0], measures=measures, share=share)
    before = found.evaluations[:-1]
    comparisons = [compare(one, found.evaluations[-1]) for one in before]
    if to_json:
        fusion = None if found.fusion is None else found.fusion.model_dump(mode="json")
        about = {"fusion": fusion, "tuned_by": measures[0], "tuned_on": found.tuned_on}
        tried = {"tried": [{"order": name, "mean": mean} for name, mean in found.tried]}
        typer.echo(json.dumps(about | tried | as_json(found.evaluations, comparisons), indent=2))
        return
    console.print(tuning_table(found, measures[0]))
    for comparison in comparisons:
        console.print(
            comparison_table(comparison, headings=(comparison.baseline, comparison.other))
        )
    if found.fusion is None:
        console.say(
            "no fusion was better than the better of the two alone: leave output.fusion out"
        )
    else:
        console.say(f"output.fusion: {described(found.fusion)}")


def main() -> None:
    """Entry point of ``python -m jobs.evaluate``."""
    run_job(evaluate_run)
