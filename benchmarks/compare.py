"""Measure the engine against its peers on this machine: ``rerank bench --workload msmarco``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.bench")

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.command import command, console, run_job
from pipeline.config import UnitsConfig
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.benchmarking.preparing import Bench

_UNIT = UnitsConfig().documents


def bench(
    workload: Annotated[
        str,
        typer.Option(
            "--workload",
            help="msmarco, doc512, doc1024, list64x100, list64x250, list125x100, yesno, page768.",
        ),
    ] = "msmarco",
    model: Annotated[
        str | None,
        typer.Option("--model", help="A network's shape; default: the workload's. See the docs."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", help="auto, packed or padded; all: auto, and the others beside."),
    ] = "auto",
    peers: Annotated[
        str | None,
        typer.Option(
            "--peers", help="Names with commas, or none; default: every one that suits the model."
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Paired rounds; ratios need 3.")
    ] = 3,
    size: Annotated[str, typer.Option("--size", help="s, m or l.")] = "s",
    reuse: Annotated[
        int, typer.Option("--reuse", min=1, help="In how many lists each document is.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the texts.")] = 0,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda; default: cuda where there is one.")
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of torch on CPU; default: torch's own.")
    ] = None,
    unit_documents: Annotated[
        int, typer.Option("--unit-documents", min=1, help="As units.documents of a job.")
    ] = _UNIT,
    shape: Annotated[
        str, typer.Option("--shape", help="real, or tiny to try a bench out in seconds.")
    ] = "real",
    end_to_end: Annotated[
        bool,
        typer.Option("--end-to-end", help="Also run it as a job on a local Ray, on CPU."),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Where checkpoints with random weights are kept."),
    ] = None,
    to_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it: .svg or .png.")
    ] = None,
    written: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Show and draw what --json wrote before, and measure nothing; repeatable.",
        ),
    ] = None,
) -> None:
    """Score a seeded workload with our engine and with its peers by turns, and compare them."""
    with command():
        from pipeline.reports.bench_table import bench_tables

        if plot is not None:
            _check_plot(plot)  # rather than after minutes of measuring
        if written and (to_json is not None or end_to_end):
            raise ConfigurationError("--from: measures nothing, so --json and --end-to-end cannot")
        if written:
            results = [_read(path) for path in written]
        else:
            asked = _bench(
                workload=workload,
                model=model,
                engine=_one_of("--engine", engine, ("auto", "packed", "padded", "all")),
                peers=_names(peers),
                rounds=rounds,
                size=_one_of("--size", size, ("s", "m", "l")),
                reuse=reuse,
                seed=seed,
                device=_device(device),
                dtype=_one_of("--dtype", dtype, ("auto", "float32", "bfloat16", "float16")),
                threads=threads,
                unit_documents=unit_documents,
                scale=_one_of("--shape", shape, ("real", "tiny")),
                cache=cache,
            )
            results = [{"command": _command(), **_measured(asked, end_to_end)}]
        if to_json is not None:
            _write(to_json, results[0])
        if plot is not None:
            _draw(results, plot)
        for result in results:
            console.print(bench_tables(result))


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"--from {path}: {error}") from None
    if not isinstance(result, dict) or "contenders" not in result:
        raise ConfigurationError(f"--from {path}: not a result of `rerank bench --json`")
    return result


def _draw(results: list[dict[str, Any]], path: Path) -> None:
    from pipeline.reports.bench_plot import bench_plot

    data = bench_plot(results, path.suffix.removeprefix("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _measured(asked: Bench, end_to_end: bool) -> dict[str, Any]:
    from pipeline.benchmarking.preparing import prepare
    from pipeline.benchmarking.side_by_side import measure

    if end_to_end and asked.device != "cpu":
        raise ConfigurationError("--end-to-end: runs on CPU only; add --device cpu")
    prepared = prepare(asked)
    result = measure(prepared)
    if end_to_end:
        from pipeline.benchmarking.end_to_end import through_ray

        result["end_to_end"] = through_ray(prepared)
    return result


def _bench(*, cache: Path | None, **values: Any) -> Bench:
    from pipeline.benchmarking.preparing import Bench
    from pipeline.rerankers.support.weights_cache import cache_root

    bench = Bench(cache=cache or cache_root() / "bench", **values)
    bench.shape()  # before anything is loaded, what is wrong is said
    return bench


def _device(asked: str | None) -> str:
    if asked is not None:
        return _one_of("--device", asked, ("cpu", "cuda"))
    from pipeline.engine.device import best_device_kind

    return best_device_kind()


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ConfigurationError(f"{option}: '{value}' is not one of {', '.join(known)}")
    return value


def _names(peers: str | None) -> tuple[str, ...] | None:
    if peers is None:
        return None
    if peers == "none":
        return ()
    return tuple(name for name in (part.strip() for part in peers.split(",")) if name)


def _check_plot(path: Path) -> None:
    from pipeline.reports.bench_plot import check_plot

    check_plot(path.suffix.removeprefix("."))


def _command() -> str:
    """The command line as typed, so that anybody can run it again."""
    words = sys.argv[1:]
    if words[:1] == ["bench"]:
        return shlex.join(["rerank", *words])
    return shlex.join(["python", "-m", "jobs.bench", *words])


def main() -> None:
    """Entry point of ``python -m jobs.bench``."""
    run_job(bench)
