"""Fit probabilities of relevance to a run: ``rerank calibrate RUN --qrels F --to FILE``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.calibrate")

import json
from typing import Annotated, Literal

import numpy as np
import typer

from jobs.command import command, console, run_job
from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.execution.calibrated_scores import model_digest
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.judged_orders import ORDER_COLUMNS, RERANKED, read_judged
from pipeline.ranking.calibration import Calibration, as_data, calibrated, fitted, quality
from pipeline.ranking.coverage import coverage
from pipeline.ranking.judged_pairs import JudgedPairs, judged_pairs
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import ranked_run
from pipeline.ranking.splits import split
from pipeline.reports.calibration_table import calibration_table
from pipeline.reports.joined_lines import joined_json, joined_lines
from pipeline.storage.store import read_bytes, write_whole


def calibrate(
    run: Annotated[str, typer.Argument(help="A run or output folder.")],
    qrels: Annotated[str, typer.Option("--qrels", help="Judgements; see docs/evaluation.md.")],
    to: Annotated[str, typer.Option("--to", help="File that output.calibration will name.")],
    method: Annotated[
        Literal["temperature", "platt", "isotonic"],
        typer.Option("--method", help="isotonic takes more judgements than the others."),
    ] = "platt",
    relevant: Annotated[
        int, typer.Option("--relevant", min=1, help="Least grade that counts as relevant.")
    ] = 1,
    unjudged: Annotated[
        Literal["exclude", "irrelevant"],
        typer.Option(
            "--unjudged",
            help="What a document without judgement is; irrelevant for judgements that name the "
            "relevant ones only.",
        ),
    ] = "exclude",
    share: Annotated[
        float,
        typer.Option("--share", min=0.05, max=0.95, help="Of the queries, to fit on."),
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Fit calibrated_score to judged queries of a run, and measure it on the others."""
    with command():
        folder = find_run(run)
        model = folder.describe()["model"]
        judged = read_qrels(read_bytes(qrels), qrels)
        table, others = read_judged(folder, judged, (*ORDER_COLUMNS, schema.SCORE))
        joined = coverage(ranked_run(table, RERANKED), judged, others)
        joined.refuse()
        held = judged.keys() - set(joined.absent)
        parts = split((query for query in judged if query in held), share=share, seed=0)
        grade = 0 if unjudged == "irrelevant" else None
        fit, rest = (judged_pairs(table, judged, part, unjudged=grade) for part in parts)
        found = fitted(
            method,
            fit.scores,
            fit.grades >= relevant,
            score_scale=model["score_scale"],
            model=model_digest(model),
            grade=relevant,
        )
        measured = _measured(found, rest, relevant)
        write_whole(to, (json.dumps(as_data(found), indent=2) + "\n").encode())
        if as_json:
            about = {"calibration": as_data(found), "fitted_on": len(parts[0])}
            about |= {"queries": len(parts[1]), "quality": measured}
            typer.echo(json.dumps(about | {"joined": joined_json([joined], None)}, indent=2))
            return
        console.print(calibration_table(found, measured, queries=len(parts[1])))
        for line in joined_lines([joined]):
            console.say(line)
        console.say(f"output.calibration: {to}")


def _measured(
    calibration: Calibration, pairs: JudgedPairs, grade: int
) -> dict[str, dict[str, float]]:
    """Quality of constant, raw and calibrated probabilities; raw only where scores are some."""
    labels = pairs.grades >= grade
    if not len(labels):
        raise InputContractError(
            "no pair of the queries to measure on is judged; expected some of their documents in "
            "the judgements"
        )
    base = np.full(len(labels), calibration.positives / calibration.pairs)
    measured = {"base rate": quality(base, labels)}
    raw = {"probability": pairs.scores, "logit": 1 / (1 + np.exp(-pairs.scores))}
    if calibration.score_scale in raw:
        measured["score"] = quality(raw[calibration.score_scale], labels)
    return measured | {"calibrated": quality(calibrated(calibration, pairs.scores), labels)}


def main() -> None:
    """Entry point of ``python -m jobs.calibrate``."""
    run_job(calibrate)
