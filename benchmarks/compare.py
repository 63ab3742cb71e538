"""Measure the engine against its peers on this machine, by turns in one process.

::

    python -m benchmarks.compare --workload msmarco --size m --json bench.json --plot bench.svg
    python -m benchmarks.compare --from first.json --from second.json --plot both.svg
"""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("benchmarks.compare")

import json
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from jobs import bench as common
from jobs.command import command, console, run_job
from pipeline.errors import ConfigurationError

Engine = Annotated[
    str,
    typer.Option("--engine", help="auto, packed or padded; all: auto, and the others beside."),
]
Peers = Annotated[
    str | None,
    typer.Option(
        "--peers", help="Names with commas, or none; default: every one that suits the model."
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Paired rounds; ratios need 3.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it: .svg or .png.")]
Written = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Show and draw what --json wrote before, and measure nothing; repeatable.",
    ),
]


def compare(
    workload: common.Workload = "msmarco",
    model: common.Model = None,
    engine: Engine = "auto",
    peers: Peers = None,
    rounds: Rounds = 3,
    size: common.Size = "s",
    reuse: common.Reuse = 1,
    seed: common.Seed = 0,
    device: common.Device = None,
    dtype: common.Dtype = "auto",
    threads: common.Threads = None,
    unit_documents: common.UnitDocuments = None,
    shape: common.Scale = "real",
    end_to_end: common.EndToEnd = False,
    run_documents: common.RunDocuments = None,
    cache: common.Cache = None,
    to_json: common.ToJson = None,
    plot: Plot = None,
    written: Written = None,
) -> None:
    """Score a seeded workload with our engine and with its peers by turns, and compare them."""
    with command():
        from benchmarks.harness.preparing import CompareOptions, prepare
        from benchmarks.harness.side_by_side import measure

        _check_plot(plot)  # rather than after minutes of measuring
        if written and (to_json is not None or end_to_end):
            raise ConfigurationError("--from: measures nothing, so --json and --end-to-end cannot")
        if written:
            _show([_read(path) for path in written], plot)
            return
        options = common.bench_options(
            CompareOptions,
            workload=workload,
            model=model,
            engine=_way(engine),
            every_way=engine == "all",
            peers=_names(peers),
            rounds=rounds,
            size=size,
            reuse=reuse,
            seed=seed,
            device=device,
            dtype=dtype,
            threads=threads,
            unit_documents=unit_documents,
            scale=shape,
            end_to_end=end_to_end,
            run_documents=run_documents,
            cache=cache,
        )
        line = common.command_line("benchmarks.compare")
        result = {"command": line, **measure(prepare(options)).plain()}
        if to_json is not None:
            common.write_result(to_json, result)
        _show([result], plot)


def _show(results: list[dict[str, Any]], plot: Path | None) -> None:
    from benchmarks.harness.tables import comparison_tables

    if plot is not None:
        from benchmarks.harness.plot import bench_plot

        data = bench_plot(results, plot.suffix.removeprefix("."))
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_bytes(data)
    for result in results:
        console.print(comparison_tables(result))


def _check_plot(path: Path | None) -> None:
    if path is not None:
        from benchmarks.harness.plot import check_plot

        check_plot(path.suffix.removeprefix("."))


def _read(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"--from {path}: {error}") from None
    if not isinstance(result, dict) or "contenders" not in result:
        raise ConfigurationError(
            f"--from {path}: not a result of `python -m benchmarks.compare --json`"
        )
    return result


def _way(engine: str) -> str:
    """The engine that ``--engine`` names: ``all`` is ``auto``, with the others beside it."""
    from pipeline.bench.options import Asked

    known = (*get_args(Asked), "all")
    if engine not in known:
        raise ConfigurationError(f"--engine: '{engine}' is not one of {', '.join(known)}")
    return "auto" if engine == "all" else engine


def _names(peers: str | None) -> tuple[str, ...] | None:
    if peers is None:
        return None
    if peers == "none":
        return ()
    return tuple(name for name in (part.strip() for part in peers.split(",")) if name)


def main() -> None:
    """Entry point of ``python -m benchmarks.compare``."""
    run_job(compare)
