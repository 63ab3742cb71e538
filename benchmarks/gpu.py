"""The GPU's set of benches, in two parts of under four and a half minutes each on one H100.

::

    benchmarks/gpu.sh --part 1                                           # on a machine with a GPU
    benchmarks/gpu.sh --device cpu --size s --shape tiny --rounds 1      # whether everything runs

The benches of a part go one after the other in one process, :mod:`benchmarks.gpu_benches`, since
importing torch and waking a GPU takes long. That process is watched here: a bench that takes too
long is ended with it, one that ends it (a fault on the GPU leaves no process usable) is told, and
in both cases another process goes on with the benches that are left. What was measured lies in a
file by then.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer


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


#: How much longer than expected a bench may take, and how long at least, before it is ended.
_PATIENCE: Final = 2.0
_LEAST_S: Final = 60.0

#: Seconds between two looks at a process of benches.
_LOOK_S: Final = 0.2


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
    asked = {"out": out, "device": device, "size": size, "shape": shape, "rounds": rounds}
    options = [
        word
        for name, value in (asked | {"cache": cache}).items()
        if value is not None
        for word in (f"--{name}", str(value))
    ]
    out.mkdir(parents=True, exist_ok=True)
    missed: list[str] = []
    for number in [part] if part is not None else [1, 2]:
        part_entries = list(entries(number, only))
        command = [sys.executable, "-m", "benchmarks.gpu_benches", *options]
        # What is expected of a bench is of a GPU.
        patience = math.inf if device == "cpu" else _PATIENCE
        missed += run_part(command, part_entries, seconds=seconds, patience=patience)
    if missed:
        print(f"failed or not begun: {', '.join(missed)}", flush=True)
        raise typer.Exit(1)


def entries(part: int, only: list[str] | None = None) -> Iterator[Entry]:
    """Of one part, those named where any are."""
    return (entry for entry in ENTRIES if entry.part == part and (not only or entry.name in only))


def run_part(
    command: Sequence[str], part: Sequence[Entry], *, seconds: float, patience: float = _PATIENCE
) -> list[str]:
    """Run some benches, in as many processes as it takes.

    Args:
        command: of a process; it is told with ``--only NAME`` what to run, with ``--seconds`` how
            long it has, and with ``--progress FILE`` where to write, line by line, ``began NAME``
            and ``done NAME``, ``failed NAME`` or ``left NAME``.
        part: the benches, in order.
        seconds: for all of them.
        patience: how many times as long as expected a bench may take.

    Returns:
        Names of those that failed, or were not begun.
    """
    ends = time.monotonic() + seconds
    left, missed = list(part), []
    while left:
        with tempfile.TemporaryDirectory() as folder:
            progress = Path(folder, "progress")
            progress.touch()
            names = [word for entry in left for word in ("--only", entry.name)]
            remaining = ends - time.monotonic()
            process = subprocess.Popen(
                [*command, *names, "--seconds", f"{remaining:.0f}", "--progress", str(progress)],
                process_group=0,  # with what it starts, and in the session of whoever ends this one
            )
            limits = {entry.name: max(_LEAST_S, patience * entry.seconds) for entry in left}
            try:
                ended = _watched(process, progress, limits, ends)
            finally:
                _end(process)
        missed += [name for name, how in ended.items() if how != "done"]
        before, left = left, [entry for entry in left if entry.name not in ended]
        if len(left) == len(before):  # it died before it began with anything
            return missed + [entry.name for entry in left]
    return missed


def _watched(
    process: subprocess.Popen[bytes], progress: Path, limits: Mapping[str, float], ends: float
) -> dict[str, str]:
    """How each bench ended that this process came to."""
    began: dict[str, float] = {}
    while process.poll() is None:
        now, (running, _) = time.monotonic(), _state(progress)
        since = now if running is None else began.setdefault(running, now)
        # Between two benches, or before the first one, a process may hang as well.
        if now > (ends if running is None else min(since + limits[running], ends)):
            ran = f"{running}: ended after {now - since:.0f} s"
            told = "no bench had begun when the time was over" if running is None else ran
            print(told, flush=True)
            _end(process)
        time.sleep(_LOOK_S)
    running, ended = _state(progress)
    if running is not None:
        print(f"{running}: its process ended with {process.returncode}", flush=True)
        ended[running] = "failed"
    return ended


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, with what it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _state(progress: Path) -> tuple[str | None, dict[str, str]]:
    """The bench that runs, and how those before it ended."""
    running, ended = None, {}
    for line in progress.read_text(encoding="utf-8").splitlines():
        word, _, name = line.partition(" ")
        if word == "began":
            running = name
        else:
            running, ended[name] = None, word
    return running, ended


if __name__ == "__main__":
    typer.run(main)
