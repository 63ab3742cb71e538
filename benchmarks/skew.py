"""One query of 100,000 candidates among 10,000 ordinary ones: memory, and what replicas wait for.

::

    python -m benchmarks.skew
    python -m benchmarks.skew --queries 10000 --giant 100000 --write

Every token costs the same time, asleep (benchmarks/fixed_cost.py), and two replicas share the work.
A query is never divided, so one replica is at the giant for as long as that takes; the other one
must not wait longer than that, wherever the giant stands. The same number of candidates without a
giant is run beside it, for its memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine, sampled
from pipeline.candidates.reading import read_lists
from pipeline.config import JobConfig
from pipeline.engine.build import build_reranker
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import execute

_CANDIDATES = 10
_WORDS = 20
_TOKENS = 3 + 1 + _WORDS
_FAMILY = "benchmarks.fixed_cost"
_ALLOWED = frozenset({_FAMILY})
_REPLICAS = 2
_RESULT = Path(__file__).parent / "results" / "skew.json"


@dataclass(frozen=True, kw_only=True)
class Skew:
    """One run.

    Attributes:
        giant: candidates of the one large query; 0 without one.
        place: where it stands: first, middle or last.
        candidates: of the whole run.
        seconds: from planning to publication, Ray's start included.
        giant_s: what the giant's own documents cost the replica that has it.
        giant_encode_s: what it takes to read and encode them, which is one task; measured alone.
        longest_wait_s: longest time that a replica waited between its first unit and the end of
            the last unit of all.
        peak_mib: of all processes and shared memory.
        peak_process_mib: of one process.
    """

    giant: int
    place: str
    candidates: int
    seconds: float
    giant_s: float
    giant_encode_s: float
    longest_wait_s: float
    peak_mib: float
    peak_process_mib: float


def write_input(folder: Path, sizes: list[int]) -> Path:
    """Lists of these many documents in order, all documents equally long."""
    path = folder / "in.parquet"
    words = "word " * (_WORDS - 2)
    schema = pa.schema(
        [("query_id", pa.int64()), ("query", pa.string()), ("doc_id", pa.int64()),
         ("text", pa.string())]
    )  # fmt: skip
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, len(sizes), 1_000):
            pairs = [
                (number, document)
                for number in range(first, min(len(sizes), first + 1_000))
                for document in range(sizes[number])
            ]
            table = pa.table(
                {
                    "query_id": [number for number, _ in pairs],
                    "query": [f"query number {number}" for number, _ in pairs],
                    "doc_id": [document for _, document in pairs],
                    "text": [f"document {document} {words}" for _, document in pairs],
                },
                schema=schema,
            )
            writer.write_table(table, row_group_size=10_000)
    return path


def measure(queries: int, giant: int, place: str, *, seconds: float) -> Skew:
    """Rank ordinary queries and perhaps a giant, which together cost a replica so many seconds."""
    sizes = [_CANDIDATES] * (queries if giant else 2 * queries)
    if giant:
        sizes.insert({"first": 0, "middle": queries // 2, "last": queries}[place], giant)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pace").write_text(str(seconds / (sum(sizes) * _TOKENS)))
        source = write_input(folder, sizes)
        config = JobConfig.model_validate(
            {
                "model": {
                    "family": _FAMILY,
                    "settings": {"pace": str(folder / "pace"), "log": str(folder / "log")},
                },
                "input": {"path": str(source)},
                "output": {"path": str(folder / "out")},
                "units": {"documents": 2_000},
                "replicas": {"min": _REPLICAS, "num_cpus": 0.1},
                "ray": {"read_cpus": 0.5},
                "progress": {"interval_s": 3600},
            }
        )
        with sampled() as peak:
            started = time.monotonic()
            prepared = prepare(config, allow_code=_ALLOWED)
            outcome = execute(prepared)
            took = time.monotonic() - started
        assert outcome.manifest["documents"] == sum(sizes), outcome.manifest
        wait = _longest_wait((folder / "log").read_text())
        before = sum(sizes[: sizes.index(max(sizes))])
        encode_s = _encode_s(prepared, before) if giant else 0.0
    return Skew(
        giant=giant,
        place=place if giant else "",
        candidates=sum(sizes),
        seconds=round(took, 1),
        giant_s=round(seconds * giant / sum(sizes), 2),
        giant_encode_s=round(encode_s, 2),
        longest_wait_s=round(wait, 2),
        peak_mib=round(peak["total"]),
        peak_process_mib=round(peak["process"]),
    )


def _encode_s(prepared: Prepared, row: int) -> float:
    """Seconds to read and encode the list that begins at a row."""
    reranker = build_reranker(prepared.config.model, allow_code=_ALLOWED)
    began = time.monotonic()
    reranker.encode(read_lists(prepared.source, row, row + 1))
    return time.monotonic() - began


def _longest_wait(log: str) -> float:
    """The longest wait of any replica, in seconds."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in log.splitlines():
        process, began, ended = line.split()
        spans[process].append((float(began), float(ended)))
    assert len(spans) == _REPLICAS, spans.keys()
    end = max(ended for of_one in spans.values() for _, ended in of_one)
    wait = 0.0
    for of_one in spans.values():
        of_one.sort()
        gaps = [after[0] - before[1] for before, after in pairwise(of_one)]
        wait = max(wait, end - of_one[-1][1], *gaps)
    return wait


def main(
    queries: Annotated[int, typer.Option(min=10, help="Ordinary queries, of 10 each.")] = 10_000,
    giant: Annotated[int, typer.Option(min=1, help="Candidates of the large one.")] = 100_000,
    seconds: Annotated[float, typer.Option(help="Work of all together.")] = 40.0,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    found = [measure(queries, 0, "", seconds=seconds)]
    found += [measure(queries, giant, place, seconds=seconds) for place in ("first", "last")]
    for one in found:
        typer.echo(
            f"giant {one.giant:>7,} {one.place:<7} {one.candidates:>8,} candidates in "
            f"{one.seconds} s; giant's work {one.giant_encode_s} + {one.giant_s} s, "
            f"longest wait {one.longest_wait_s} s; "
            f"peak {one.peak_mib:,.0f} MiB, largest process {one.peak_process_mib:,.0f} MiB"
        )
    if write:
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.skew --queries {queries} --giant {giant} "
            f"--seconds {seconds:g} --write",
            "machine": machine(),
            "runs": [asdict(one) for one in found],
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
