"""The GPU's set of benches in one process, in under ten minutes on one H200.

::

    benchmarks/gpu.sh                                                    # on a machine with a GPU
    benchmarks/gpu.sh --device cpu --size s --shape tiny --rounds 1      # whether everything runs

Each bench writes its JSON as soon as it is done. One that could not end in time is not begun.
"""

from __future__ import annotations

import gc
import json
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.preparing import CompareOptions, prepare
from benchmarks.harness.side_by_side import measure
from benchmarks.harness.tables import comparison_tables
from pipeline.checkpoints.weights_cache import cache_root
from pipeline.engine.device import best_device_kind
from pipeline.errors import RerankError
from pipeline.reports.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One bench of the set.

    Attributes:
        name: of its result file.
        options: of the bench.
        seconds: that it is expected to take on one H200, checkpoint included; a guess that keeps
            the set within its time.
    """

    name: str
    options: dict[str, Any]
    seconds: float


def entries() -> list[Entry]:
    """What matters most comes first."""
    jina_m0: dict[str, Any] = {"workload": "page768", "size": "l", "peers": ("jina-m0-policy",)}
    return [
        Entry(
            name="msmarco-minilm-l6",
            options={"workload": "msmarco", "size": "m"},
            seconds=60,
        ),
        Entry(
            name="msmarco-minilm-l6-large",
            options={"workload": "msmarco", "size": "l", "peers": ()},
            seconds=40,
        ),
        Entry(
            name="msmarco-xlmr-base",
            options={
                "workload": "msmarco",
                "model": "xlmr-base",
                "size": "m",
                "peers": ("padded", "st-predict", "st-predict-256", "jina-v2-policy"),
            },
            seconds=60,
        ),
        Entry(
            name="list64x100-jina-v3",
            options={"workload": "list64x100", "size": "l", "peers": ("jina-v3-policy",)},
            seconds=70,
        ),
        Entry(
            name="yesno-qwen3",
            options={"workload": "yesno", "size": "l", "peers": ("unshared", "padded")},
            seconds=70,
        ),
        Entry(name="page768-reuse1", options=jina_m0, seconds=110),
        Entry(name="page768-reuse10", options=jina_m0 | {"reuse": 10}, seconds=60),
        Entry(name="page768-reuse50", options=jina_m0 | {"reuse": 50}, seconds=60),
        Entry(
            name="doc1024-jina-turbo",
            options={"workload": "doc1024", "size": "m"},
            seconds=30,
        ),
    ]


def main(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("benchmarks/results"),
    seconds: Annotated[float, typer.Option(help="For the whole set.")] = 570.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: as found.")] = None,
    size: Annotated[str | None, typer.Option(help="s, m or l for all, not each its own.")] = None,
    shape: Annotated[str, typer.Option(help="real or tiny.")] = "real",
    rounds: Annotated[int, typer.Option(min=1, help="Paired rounds; ratios need 3.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Names of benches; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where checkpoints are kept.")] = None,
) -> None:
    """Run the set; exit 1 where a bench failed or was not begun."""
    started, missed = time.monotonic(), []
    console = Terminal()
    common = {
        "cache": cache or cache_root() / "bench",
        "device": device or best_device_kind(),
        "scale": shape,
        "rounds": rounds,
    }
    out.mkdir(parents=True, exist_ok=True)
    for entry in entries():
        if only and entry.name not in only:
            continue
        left = seconds - (time.monotonic() - started)
        if left < entry.seconds:
            console.say(f"{entry.name}: not begun, {left:.0f} of {seconds:.0f} s are left")
            missed.append(entry.name)
            continue
        asked: dict[str, Any] = {**common, **entry.options}
        options = CompareOptions(**(asked if size is None else asked | {"size": size}))
        try:
            result = measured(options)
        except (RerankError, RuntimeError, ImportError) as error:
            # The others may still run; the exit code tells.
            traceback.print_exc()
            console.say(f"{entry.name}: failed: {error}")
            missed.append(entry.name)
            continue
        finally:
            _free(options.device)
        text = json.dumps(result, indent=2, allow_nan=False) + "\n"
        (out / f"{options.device}-{entry.name}.json").write_text(text, encoding="utf-8")
        console.print(comparison_tables(result))
    if missed:
        raise typer.Exit(1)


def measured(options: CompareOptions) -> dict[str, Any]:
    """One comparison as plain data, with the command that does the same."""
    return {"command": command_line(options), **measure(prepare(options)).plain()}


def command_line(options: CompareOptions) -> str:
    """The ``python -m benchmarks.compare`` that does the same."""
    words = [f"python -m benchmarks.compare --workload {options.workload} --size {options.size}"]
    if options.model is not None:
        words.append(f"--model {options.model}")
    if options.peers is not None:
        words.append(f"--peers {','.join(options.peers) or 'none'}")
    if options.reuse != 1:
        words.append(f"--reuse {options.reuse}")
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
