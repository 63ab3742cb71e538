"""Evaluate a run against relevance judgements: ``rerank evaluate RUN --qrels F``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.evaluate")

import json
from dataclasses import replace
from itertools import combinations
from typing import Annotated

import typer
from rich.console import Group

from jobs.command import command, console, run_job
from pipeline import schema
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.judged_orders import (
    FUSED,
    ORDER_COLUMNS,
    RERANKED,
    JudgedOrders,
    judged_orders,
    read_judged,
)
from pipeline.ranking.chance import by_chance
from pipeline.ranking.comparison import Comparison, compare
from pipeline.ranking.coverage import coverage
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.fusion_tuning import described, tune
from pipeline.ranking.others import Others, Qrels
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import parse_trec_run, ranked_run
from pipeline.reports.evaluation_table import (
    as_json,
    changes_table,
    comparison_table,
    evaluation_table,
    tuning_table,
)
from pipeline.reports.joined_lines import joined_json, joined_lines
from pipeline.storage.store import is_folder, read_bytes

_SCORES = (schema.SCORE, schema.FIRST_STAGE_SCORE)


def evaluate_run(
    run: Annotated[str, typer.Argument(help="A run or output folder, or a TREC run file.")],
    qrels: Annotated[str, typer.Option("--qrels", help="Judgements; see docs/evaluation.md.")],
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
        found = _orders(run, judged)
        orders = [(order, found.coverage) for order in found.all]
        if baseline is not None:
            other = _orders(baseline, judged, name="baseline")
            orders = [(other.reranked, other.coverage)] + [
                (order, seen) for order, seen in orders if order is not found.first_stage
            ]
        joined = list({id(seen): seen for _, seen in orders}.values())
        for seen in joined:
            seen.refuse()
        evaluations = [
            evaluate(order, judged, measures, others=seen.others) for order, seen in orders
        ]
        comparisons = [
            compare(one, other, examples=max(changes, 1))
            for one, other in combinations(evaluations, 2)
        ]
        chance = by_chance([order for order, _ in orders], judged, measures[0])
        if to_json:
            told = as_json(evaluations, comparisons) | {"joined": joined_json(joined, chance)}
            typer.echo(json.dumps(told, indent=2))
            return
        console.print(evaluation_table(evaluations, joined=joined_lines(joined, chance)))
        for comparison in comparisons:
            console.print(_comparison(comparison))
            if changes and comparison is comparisons[0]:
                console.print(changes_table(comparison.measures[0]))


def _comparison(comparison: Comparison) -> Group:
    if comparison.other == FUSED:
        return comparison_table(comparison, headings=(comparison.baseline, FUSED))
    return comparison_table(comparison)


def _orders(path: str, judged: Qrels, name: str = RERANKED) -> JudgedOrders:
    """The orders of one of our runs; a TREC run has only itself."""
    if is_folder(path):
        found = judged_orders(find_run(path), judged)
        run = replace(found.reranked, name=name)
        return replace(found, reranked=run, coverage=replace(found.coverage, run=name))
    others = Others(judged)
    run = parse_trec_run(read_bytes(path), path, path.rsplit("/", 1)[-1], others=others)
    return JudgedOrders(
        first_stage=None, reranked=run, fused=None, coverage=coverage(run, judged, others)
    )


def _tune(run: str, judged: Qrels, measures: tuple[str, ...], share: float, to_json: bool) -> None:
    if not is_folder(run):
        raise ConfigurationError(
            f"--tune-fusion: '{run}' is no run of ours; a TREC run has one order and one score"
        )
    table, others = read_judged(find_run(run), judged, (*ORDER_COLUMNS, *_SCORES))
    joined = coverage(ranked_run(table, RERANKED), judged, others)
    joined.refuse()
    found = tune(table, judged, tuned_by=measures[0], measures=measures, share=share)
    before = found.evaluations[:-1]
    comparisons = [compare(one, found.evaluations[-1]) for one in before]
    if to_json:
        fusion = None if found.fusion is None else found.fusion.model_dump(mode="json")
        about = {"fusion": fusion, "tuned_by": measures[0], "tuned_on": found.tuned_on}
        tried = {"tried": [{"order": name, "mean": mean} for name, mean in found.tried]}
        told = about | tried | as_json(found.evaluations, comparisons)
        typer.echo(json.dumps(told | {"joined": joined_json([joined], None)}, indent=2))
        return
    console.print(tuning_table(found, measures[0]))
    console.print(evaluation_table(found.evaluations, joined=joined_lines([joined])))
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
