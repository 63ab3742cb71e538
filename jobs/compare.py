"""Compare models on a sample of an input: ``rerank compare -c job.yaml --model A --model B``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.compare")

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from jobs.command import (
    AllowCode,
    ConfigFile,
    Limit,
    Overrides,
    allowed,
    command,
    read_any_job,
    run_job,
)
from pipeline.config import JobConfig, RefreshConfig
from pipeline.errors import ConfigurationError
from pipeline.ranking.qrels import read_qrels
from pipeline.reports.terminal import Terminal
from pipeline.storage.store import absolute, join, read_bytes, write_whole

#: Names and seven figures in a row; a narrower terminal wraps the lines.
_WIDE: Final = 120

#: Queries of a sample: of fewer than fifty little can be said, and a hundred lists of a hundred
#: documents take a small model a minute of a CPU.
_SAMPLE: Final = 100

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME[,KEY=VALUE...]",
        help="A card, hub id, folder or URI, with settings of this model alone: max_length=256, "
        "engine.dtype=int8; repeatable.",
    ),
]
Qrels = Annotated[
    str | None,
    typer.Option("--qrels", help="Judgements, as rerank evaluate reads them; without, no quality."),
]
Baseline = Annotated[
    str,
    typer.Option("--baseline", help="What differences are to: first_stage, or one of the models."),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="FOLDER", help="Write compare.json, and the plot as SVG and PNG, there."
    ),
]


def compare(
    config: ConfigFile = None,
    overrides: Overrides = None,
    models: Models = None,
    qrels: Qrels = None,
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", help="As ir-measures writes it, e.g. nDCG@10; repeatable."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Queries that are drawn, with all candidates.")
    ] = _SAMPLE,
    seed: Annotated[int, typer.Option("--seed", help="Another one draws other queries.")] = 0,
    baseline: Baseline = "first_stage",
    limit: Limit = None,
    to: To = None,
    to_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    allow_code: AllowCode = None,
) -> None:
    """Say which of several models ranks a sample of an input best, and how fast each is here."""
    with command():
        from pipeline.comparison.compare import Asked, compare_models
        from pipeline.comparison.named import named_models
        from pipeline.comparison.plot import require_plot
        from pipeline.reports.compare_table import compare_tables

        if qrels is None and (measure or baseline != "first_stage"):
            raise ConfigurationError("--measure and --baseline need --qrels")
        if to is not None and qrels is not None:
            require_plot()
        named = named_models(models or [])
        asked = Asked(
            job=_job(config, overrides, limit, a_model=named[0].name),
            models=named,
            sample=sample,
            seed=seed,
            qrels=None if qrels is None else read_qrels(read_bytes(qrels), qrels),
            measures=measure or ("nDCG@10", "RR@10"),
            baseline=baseline,
            allow_code=allowed(allow_code),
        )
        report = {"command": _command_line(), **compare_models(asked)}
        if to is not None:
            _write(absolute(to), report)
        if to_json:
            typer.echo(json.dumps(report, indent=2, allow_nan=False))
        else:
            Terminal(width=_WIDE).print(compare_tables(report))


def _job(
    config: Path | None, overrides: list[str] | None, limit: int | None, *, a_model: str
) -> JobConfig:
    """The job whose input, device and precision are used, and not its model.

    Where there is no file, ``a_model`` takes the place of the model that every job has.

    Raises:
        ConfigurationError: a setting is wrong, or would be of no use.
    """
    for override in overrides or ():
        if override.split("=")[0].split(".")[0].strip() == "model":
            raise ConfigurationError(
                f"--set {override!r}: here each model has settings of its own; write --model "
                "NAME,KEY=VALUE, such as 'bge-reranker-base,max_length=256'"
            )
    given = list(overrides or [])
    if config is None:
        given.append(f"model.name={a_model}")
    job = read_any_job(config, given, limit=limit)
    if isinstance(job, RefreshConfig):
        raise ConfigurationError(
            f"{config}: has a section 'refresh'; models are compared on one input, so give a job "
            "without that section"
        )
    return job


def _write(folder: str, report: Mapping[str, Any]) -> None:
    """Write the report and, where there is quality to show, the plot."""
    from pipeline.comparison.plot import quality_speed_plot

    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    write_whole(join(folder, "compare.json"), text.encode())
    if report["measures"]:
        for kind in ("svg", "png"):
            data = quality_speed_plot(report, kind)
            write_whole(join(folder, f"quality-speed.{kind}"), data)


def _command_line() -> str:
    """The command line as typed, so that anybody can run it again."""
    words = sys.argv[1:]
    if words[:1] == ["compare"]:
        return shlex.join(["rerank", *words])
    return shlex.join(["python", "-m", "jobs.compare", *words])


def main() -> None:
    """Entry point of ``python -m jobs.compare``."""
    run_job(compare)
