"""The GPU's set of benches, in two parts of under four and a half minutes each on one H100.

::

    benchmarks/gpu.sh --part 1                                           # on a machine with a GPU
    benchmarks/gpu.sh --device cpu --size s --shape tiny --rounds 1      # whether everything runs

Each bench writes its JSON as soon as it is done. One that could not end in time is not begun.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.harness.preparing import CompareOptions, prepare
from benchmarks.harness.side_by_side import measure
from benchmarks.harness.tables import comparison_tables
from jobs.bench import write_result
from pipeline.bench.run import profile_of
from pipeline.checkpoints.weights_cache import cache_root
from pipeline.engine.device import best_device_kind
from pipeline.reports.profile_table import profile_table
from pipeline.reports.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One bench of the set.

    Attributes:
        part: in which it is.
        name: of its result file.
        options: of the bench.
        seconds: that it is expected to take on one H100, checkpoint included; a guess that keeps
            its part within its time.
    """

    part: int
    name: str
    options: dict[str, Any]
    seconds: float


_JINA_M0: Final[dict[str, Any]] = {"workload": "page768", "size": "l"}

#: What matters most comes first in each part. A bench that goes through Ray ranks so many documents
#: that its pace is that of ten seconds or more.
ENTRIES: Final = (
    Entry(
        part=1,
        name="msmarco-minilm-l6-end-to-end",
        options={
            "workload": "msmarco",
            "size": "l",
            "peers": (),
            "end_to_end": True,
            "run_documents": 1_000_000,
        },
        seconds=80,
    ),
    Entry(
        part=1,
        name="msmarco-minilm-l6",
        options={
            "workload": "msmarco",
            "size": "m",
            "peers": ("padded", "st-predict", "st-predict-256"),
        },
        seconds=40,
    ),
    Entry(
        part=1,
        name="list64x100-jina-v3",
        options={"workload": "list64x100", "size": "l", "peers": ("jina-v3-policy",)},
        seconds=60,
    ),
    Entry(
        part=1,
        name="yesno-qwen3",
        options={"workload": "yesno", "size": "l", "peers": ("unshared",)},
        seconds=45,
    ),
    Entry(
        part=1,
        name="list64x250-jina-v3",
        options={"workload": "list64x250", "size": "l", "peers": ()},
        seconds=25,
    ),
    Entry(
        part=2,
        name="msmarco-xlmr-base",
        options={
            "workload": "msmarco",
            "model": "xlmr-base",
            "size": "m",
            "peers": ("padded", "st-predict-256"),
            "end_to_end": True,
            "run_documents": 300_000,
        },
        seconds=75,
    ),
    Entry(
        part=2,
        name="page768-reuse1",
        options=_JINA_M0 | {"peers": ("jina-m0-policy",)},
        seconds=75,
    ),
    Entry(
        part=2,
        name="doc1024-jina-turbo",
        options={"workload": "doc1024", "size": "l", "peers": ("padded",)},
        seconds=45,
    ),
    Entry(
        part=2, name="page768-reuse10", options=_JINA_M0 | {"reuse": 10, "peers": ()}, seconds=25
    ),
    Entry(
        part=2, name="page768-reuse50", options=_JINA_M0 | {"reuse": 50, "peers": ()}, seconds=20
    ),
    Entry(
        part=2,
        name="msmarco-xlmr-base-float8",
        options={
            "workload": "msmarco",
            "model": "xlmr-base",
            "size": "m",
            "dtype": "float8",
            "peers": ("ours-bfloat16",),
        },
        seconds=15,
    ),
)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("benchmarks/results"),
    part: Annotated[
        int | None, typer.Option(min=1, max=2, help="Half of the set; default: both.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each part.")] = 255.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: as found.")] = None,
    size: Annotated[str | None, typer.Option(help="s, m or l for all, not each its own.")] = None,
    shape: Annotated[str, typer.Option(help="real or tiny.")] = "real",
    rounds: Annotated[int, typer.Option(min=1, help="Paired rounds; ratios need 3.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Names of benches; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where checkpoints are kept.")] = None,
) -> None:
    """Run the set; exit 1 where a bench failed or was not begun."""
    console = Terminal()
    common = {
        "cache": cache or cache_root() / "bench",
        "device": device or best_device_kind(),
        "scale": shape,
        "rounds": rounds,
    }
    out.mkdir(parents=True, exist_ok=True)
    missed = []
    for number in [part] if part is not None else [1, 2]:
        ends = time.monotonic() + seconds
        for entry in entries(number, only):
            left = ends - time.monotonic()
            if left < entry.seconds:
                console.say(f"{entry.name}: not begun, {left:.0f} of {seconds:.0f} s are left")
                missed.append(entry.name)
                continue
            asked = {**common, **entry.options, **({} if size is None else {"size": size})}
            if not _done(entry.name, CompareOptions(**_possible(asked, console)), out, console):
                missed.append(entry.name)
    if missed:
        raise typer.Exit(1)


def entries(part: int, only: list[str] | None = None) -> Iterator[Entry]:
    """Of one part, those named where any are."""
    return (entry for entry in ENTRIES if entry.part == part and (not only or entry.name in only))


def _possible(asked: dict[str, Any], console: Terminal) -> dict[str, Any]:
    """What of a bench this machine can do.

    Without Ray no run goes through it, and of tiny networks it is a small one; without a GPU there
    is no float8.
    """
    if asked.get("dtype") == "float8" and asked["device"] == "cpu":
        console.say("no GPU here: float8 is left out, and its bench is run in float32")
        asked = {k: v for k, v in asked.items() if k != "dtype"}
    if not asked.get("end_to_end"):
        return asked
    try:
        import ray  # noqa: F401
    except ImportError:
        console.say("no ray here: the run through Ray is left out")
        return {k: v for k, v in asked.items() if k not in ("end_to_end", "run_documents")}
    return asked | {"run_documents": None} if asked["scale"] == "tiny" else asked


def _done(name: str, options: CompareOptions, out: Path, console: Terminal) -> bool:
    """Measure, write and print one bench; False where it failed, since the others may still run."""
    started = time.monotonic()
    path = out / f"{options.device}-{name}.json"
    try:
        prepared = prepare(options)
        found = measure(prepared)
        result = {"command": command_line(options), **found.plain()}
        write_result(path, result)  # what is measured is kept, whatever the profile does
        console.print(comparison_tables(result))
        profile = profile_of(prepared.base, found.contenders[0].figures)
        if profile is not None:
            told = asdict(profile)
            write_result(path, result | {"profile": told})
            console.print(profile_table(told))
    except Exception as error:  # whatever it is, the machine's time is for the other benches
        traceback.print_exc()
        console.say(f"{name}: failed: {error}")
        return False
    finally:
        prepared = None  # type: ignore[assignment]
        _free(options.device)
    console.say(f"{name}: {time.monotonic() - started:.0f} s")
    return True


def command_line(options: CompareOptions) -> str:
    """The ``python -m benchmarks.compare`` that does the same."""
    words = [f"python -m benchmarks.compare --workload {options.workload} --size {options.size}"]
    if options.model is not None:
        words.append(f"--model {options.model}")
    if options.peers is not None:
        words.append(f"--peers {','.join(options.peers) or 'none'}")
    if options.reuse != 1:
        words.append(f"--reuse {options.reuse}")
    if options.end_to_end:
        words.append("--end-to-end")
    if options.run_documents is not None:
        words.append(f"--run-documents {options.run_documents}")
    if options.scale != "real":
        words.append(f"--shape {options.scale}")
    return " ".join([*words, f"--rounds {options.rounds}", f"--device {options.device}"])


def _free(device: str) -> None:
    """Give the memory of one bench's networks back before the next loads its own."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


if __name__ == "__main__":
    typer.run(main)
