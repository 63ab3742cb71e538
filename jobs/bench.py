"""Measure the rate of the engine on this machine: ``rerank bench --workload msmarco``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.bench")

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jobs.command import command, console, run_job
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.bench.options import BenchOptions

Options = TypeVar("Options", bound="BenchOptions")

# Options of every bench; `benchmarks.compare` has them as well.
Workload = Annotated[
    str,
    typer.Option(
        "--workload",
        help="msmarco, doc512, doc1024, list64x100, list64x250, list125x100, yesno, page768.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A network's shape, or a model as model.name has it; default: the workload's shape.",
    ),
]
Size = Annotated[str, typer.Option("--size", help="s, m or l.")]
Reuse = Annotated[int, typer.Option("--reuse", min=1, help="In how many lists each document is.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the texts.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda; default: cuda where there is one.")
]
Dtype = Annotated[
    str,
    typer.Option("--dtype", help="auto, float32, bfloat16, float16, int8 (CPU) or float8 (GPU)."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of torch on CPU; default: torch's own.")
]
UnitDocuments = Annotated[
    int | None,
    typer.Option(
        "--unit-documents", min=1, help="As units.documents of a job; default: 5,000. See the docs."
    ),
]
Scale = Annotated[str, typer.Option("--shape", help="real, or tiny to try a bench out in seconds.")]
EndToEnd = Annotated[
    bool, typer.Option("--end-to-end", help="Also run it as a job on a local Ray.")
]
RunDocuments = Annotated[
    int | None,
    typer.Option(
        "--run-documents",
        min=1,
        help="That job ranks at least so many; default: the workload once.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Where checkpoints with random weights are kept."),
]
ToJson = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
]


def bench(
    workload: Workload = "msmarco",
    model: Model = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, packed or padded.")] = "auto",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Passes.")] = 3,
    size: Size = "s",
    reuse: Reuse = 1,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = "auto",
    threads: Threads = None,
    unit_documents: UnitDocuments = None,
    shape: Scale = "real",
    end_to_end: EndToEnd = False,
    run_documents: RunDocuments = None,
    profiled: Annotated[
        bool,
        typer.Option(
            "--profile", help="Also say what the time goes to: kernels on a GPU, else operators."
        ),
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Also note the rate for `rerank plan`: in rerank-rates.yaml, or in the file "
            "that RERANK_RATES names.",
        ),
    ] = False,
    cache: Cache = None,
    to_json: ToJson = None,
) -> None:
    """Score a seeded workload with a network of a real shape, and say how fast that is here."""
    with command():
        from pipeline.bench.options import BenchOptions
        from pipeline.bench.preparing import prepare
        from pipeline.bench.recording import record_rate, refuse_unrecordable
        from pipeline.bench.run import measure
        from pipeline.reports.bench_table import bench_tables
        from pipeline.reports.profile_table import profile_table

        options = bench_options(
            BenchOptions,
            workload=workload,
            model=model,
            engine=engine,
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
        if record:
            refuse_unrecordable(workload, shape)
        prepared = prepare(options)
        found = measure(prepared, profiled=profiled)
        result = {"command": command_line("jobs.bench"), **found.plain()}
        if to_json is not None:
            write_result(to_json, result)
        console.print(bench_tables(result))
        if profiled:
            console.print(profile_table(result["profile"]))
        if record:
            where = record_rate(prepared, found, command=result["command"])
            console.say(f"The rate stands in {where}, where `rerank plan` finds it.")


def bench_options(
    kind: type[Options], *, cache: Path | None, device: str | None, **values: Any
) -> Options:
    """Options of a command line, with what the machine decides where nothing is said.

    Raises:
        ConfigurationError: see :class:`~pipeline.bench.options.BenchOptions`.
    """
    from pipeline.checkpoints.weights_cache import cache_root
    from pipeline.engine.device import best_device_kind

    where: Any = device or best_device_kind()
    return kind(cache=cache or cache_root() / "bench", device=where, **values)


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, its folder as well.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--json {path}: cannot be written ({error})") from None


def command_line(module: str) -> str:
    """The command line as typed, so that anybody can run it again."""
    words = sys.argv[1:]
    if words[:1] == ["bench"]:
        return shlex.join(["rerank", *words])
    return shlex.join(["python", "-m", module, *words])


def main() -> None:
    """Entry point of ``python -m jobs.bench``."""
    run_job(bench)
