"""The benches of :mod:`benchmarks.gpu`, one after the other in this process.

Each writes its JSON as soon as anything is measured, and again with the run through Ray and with
the profile. One that could not end in time is not begun.
"""

from __future__ import annotations

import faulthandler
import gc
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.gpu import ENTRIES, Entry
from benchmarks.harness.preparing import CompareOptions, prepare
from benchmarks.harness.side_by_side import measure
from benchmarks.harness.tables import comparison_tables
from jobs.bench import write_result
from pipeline.bench.run import end_to_end, profile_of
from pipeline.checkpoints.weights_cache import cache_root
from pipeline.engine.device import best_device_kind
from pipeline.reports.profile_table import profile_table
from pipeline.reports.terminal import Terminal

#: How many times as long as expected a bench may have taken when a further round begins.
_ROUNDS: Final = 1.25

#: Seconds before the end of all when no further round begins.
_LAST_S: Final = 15.0

#: How this process ends where a bench has left the GPU unusable in it.
UNUSABLE: Final = 75


def main(
    out: Annotated[Path, typer.Option()],
    seconds: Annotated[float, typer.Option()],
    progress: Annotated[Path, typer.Option()],
    only: Annotated[list[str], typer.Option()],
    device: Annotated[str | None, typer.Option()] = None,
    size: Annotated[str | None, typer.Option()] = None,
    shape: Annotated[str, typer.Option()] = "real",
    rounds: Annotated[int, typer.Option()] = 3,
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Run the named benches, in their order."""
    console = Terminal()
    ends = time.monotonic() + seconds
    common = {
        "cache": cache or cache_root() / "bench",
        "device": device or best_device_kind(),
        "scale": shape,
        "rounds": rounds,
    }

    def tell(word: str, name: str) -> None:
        with progress.open("a", encoding="utf-8") as file:
            file.write(f"{word} {name}\n")

    for entry in (entry for entry in ENTRIES if entry.name in only):
        left = ends - time.monotonic()
        if left < entry.seconds:
            console.say(f"{entry.name}: not begun, {left:.0f} s are left")
            tell("left", entry.name)
            continue
        asked = {**common, **entry.options, **({} if size is None else {"size": size})}
        tell("began", entry.name)
        # Where a bench hangs, before it is ended with this process.
        faulthandler.dump_traceback_later(max(entry.seconds * 1.5, 50.0), file=sys.stderr)
        until = min(time.monotonic() + _ROUNDS * entry.seconds, ends - _LAST_S)
        done = _done(entry, partial(_possible, asked, console), until, out, console)
        faulthandler.cancel_dump_traceback_later()
        tell("done" if done else "failed", entry.name)
        if not done and not _usable(str(common["device"])):
            console.say("the GPU does not answer in this process any more; another one goes on")
            sys.exit(UNUSABLE)


def _possible(asked: dict[str, Any], console: Terminal) -> CompareOptions:
    """What of a bench this machine can do.

    Without Ray no run goes through it, and of tiny networks it is a small one; without a GPU there
    is no float8.
    """
    if asked.get("dtype") == "float8" and asked["device"] == "cpu":
        console.say("no GPU here: float8 is left out, and its bench is run in float32")
        asked = {k: v for k, v in asked.items() if k != "dtype"}
    if asked.get("end_to_end"):
        try:
            import ray  # noqa: F401
        except ImportError as error:
            console.say(f"no ray here: the run through Ray is left out ({error})")
            asked = {k: v for k, v in asked.items() if k not in ("end_to_end", "run_documents")}
        else:
            asked = asked | {"run_documents": None} if asked["scale"] == "tiny" else asked
    return CompareOptions(**asked)


def _done(
    entry: Entry,
    options_of: Callable[[], CompareOptions],
    until: float,
    out: Path,
    console: Terminal,
) -> bool:
    """Measure, write and print one bench; False where it failed, since the others may still run."""
    started = time.monotonic()
    prepared: Any = None
    device = "cpu"
    try:
        options = options_of()
        device = options.device
        path = out / f"{device}-{entry.name}.json"
        prepared = prepare(options)
        found = measure(prepared, until=until, runs=False)
        result = {"command": command_line(options), **found.plain(), **_on_gpu(device)}
        write_result(path, result)  # what is measured is kept, whatever comes
        console.print(comparison_tables(result))
        run = end_to_end(prepared.base)
        if run is not None:
            result["end_to_end"] = asdict(run)
            write_result(path, result)
            console.print(comparison_tables(result))
        profile = profile_of(prepared.base, found.contenders[0].figures)
        if profile is not None:
            result["profile"] = asdict(profile)
            write_result(path, result)
            console.print(profile_table(result["profile"]))
    except Exception as error:  # whatever it is, the machine's time is for the other benches
        traceback.print_exc()
        console.say(f"{entry.name}: failed: {error}")
        return False
    finally:
        prepared = None
        _free(device)
    console.say(f"{entry.name}: {time.monotonic() - started:.0f} s")
    return True


def _on_gpu(device: str) -> dict[str, Any]:
    """Which kernels were taken, and what was refused, in this process so far."""
    if device == "cpu":
        return {}
    from pipeline.networks.attention.kernels import chosen
    from pipeline.networks.fusing import compilations
    from pipeline.networks.refusals import refusals

    return {
        "kernels": {
            "attention": chosen(), "compilations": compilations(), "refused": refusals(),
        }
    }  # fmt: skip


def command_line(options: CompareOptions) -> str:
    """The ``python -m benchmarks.compare`` that does the same."""
    words = [f"python -m benchmarks.compare --workload {options.workload} --size {options.size}"]
    if options.model is not None:
        words.append(f"--model {options.model}")
    if options.dtype != "auto":
        words.append(f"--dtype {options.dtype}")
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


def _usable(device: str) -> bool:
    """Whether the device still computes; after a fault no call of CUDA does in its process."""
    import torch

    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except RuntimeError:
        return False


def _free(device: str) -> None:
    """Give the memory of one bench's networks back before the next loads its own."""
    gc.collect()
    if device == "cuda":
        import torch

        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # after a fault; whoever asks next is told
            return


if __name__ == "__main__":
    typer.run(main)
