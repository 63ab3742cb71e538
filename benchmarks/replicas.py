"""On CPU, replicas of one thread or threads of one replica: what ``replicas.num_cpus: auto`` is by.

::

    python -m benchmarks.replicas
    python -m benchmarks.replicas --documents 12000 --rounds 3 --write

The same passages (about 75 tokens, lists of 100) are ranked by every way to share this machine's
CPUs out: on a local Ray as N replicas of CPUs / N threads each, and in the one worker process that
small jobs get, with all threads. Every way has rounds in turn, and its best one counts, for a busy
machine only ever takes away. What threads cost shows in documents per CPU-second of scoring; the
seconds from the plan to publication hold what Ray and the loading of models take as well.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine
from benchmarks.synthetic_passages import Passages
from pipeline.config import JobConfig
from pipeline.demo.corpus import standard_library_documents
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.machine import cpus

_CANDIDATES = 100
_RESULT = Path(__file__).parent / "results" / "replicas.json"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to share CPUs out, and its best round.

    Attributes:
        place: cluster (a local Ray) or process.
        replicas: of the model.
        threads: of each.
        documents_per_cpu_s: of scoring alone.
        documents_per_s: while units are worked on, replicas loading their model included.
        seconds: from the plan to publication.
        cpu_s: of workers and driver, by stage.
        busy: share of the CPUs' time that they took, from the plan to publication.
    """

    place: str
    replicas: int
    threads: int
    documents_per_cpu_s: float
    documents_per_s: float
    seconds: float
    cpu_s: dict[str, float]
    busy: float


def write_input(path: Path, documents: int) -> None:
    """Lists of 100 passages."""
    text = "\n".join(document.text for document in standard_library_documents())
    passages = Passages(text, [], seed=1)
    queries = [passages.query() for _ in range(documents // _CANDIDATES)]
    table = pa.table(
        {
            "query_id": pa.array([n // _CANDIDATES for n in range(documents)]),
            "query": pa.array([queries[n // _CANDIDATES] for n in range(documents)]),
            "doc_id": pa.array(range(documents), pa.int64()),
            "text": pa.array([passages.document() for _ in range(documents)]),
        }
    )
    pq.write_table(table, path, row_group_size=1_000)


def measure(
    source: Path, documents: int, model: str, place: str, replicas: int, threads: int
) -> Way:
    """One round."""
    with tempfile.TemporaryDirectory() as folder:
        job = JobConfig.model_validate(
            {
                "model": {"name": model},
                "input": {"path": str(source)},
                "output": {"path": folder},
                "replicas": {"min": replicas, "num_cpus": threads, "num_gpus": 0},
                # As `auto` takes it where there is little work; Ray where there is more.
                "ray": {"mode": place if place == "cluster" else "in_process"},
                "progress": {"interval_s": 3600},
            }
        )
        began = time.perf_counter()
        outcome = execute(prepare(job))
        seconds = time.perf_counter() - began
        report = json.loads(Path(outcome.folder, "report.json").read_text(encoding="utf-8"))
    spent = dict(report["cpu_seconds"])
    if place == "process":  # all stages are in the driver, which counts them once more
        spent = {"driver": spent["driver"]}
    return Way(
        place=place,
        replicas=replicas,
        threads=threads,
        documents_per_cpu_s=round(documents / report["cpu_seconds"]["score"], 1),
        documents_per_s=report["documents_per_s"],
        seconds=round(seconds, 1),
        cpu_s=report["cpu_seconds"],
        busy=round(sum(spent.values()) / report["seconds"] / cpus(), 3),
    )


def ways(count: int) -> list[tuple[str, int, int]]:
    """Place, replicas and threads of each."""
    shared = [("cluster", n, count // n) for n in range(count, 0, -1) if count % n == 0]
    return [*shared, ("process", 1, count)]


def main(
    documents: Annotated[int, typer.Option(min=1_000, help="Of a run.")] = 12_000,
    rounds: Annotated[int, typer.Option(min=1, help="Of each way.")] = 3,
    model: Annotated[str, typer.Option(help="Card, folder or hub id.")] = "all-minilm-l6-v2",
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    best: dict[tuple[str, int, int], Way] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "in.parquet")
        write_input(source, documents)
        for _ in range(rounds):
            for way in ways(cpus()):
                found = measure(source, documents, model, *way)
                typer.echo(str(found))
                before = best.get(way)
                if before is None or found.documents_per_cpu_s > before.documents_per_cpu_s:
                    best[way] = found
    for one in best.values():
        typer.echo(
            f"{one.place:<8} {one.replicas} x {one.threads} threads  "
            f"{one.documents_per_cpu_s:,.1f} documents per CPU-second, "
            f"{one.seconds:,.1f} s in all, CPUs busy {one.busy:.0%}"
        )
    if write:
        options = f"--documents {documents} --rounds {rounds} --model {model}"
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.replicas {options} --write",
            "device": "CPU",
            "machine": machine(),
            "ways": [asdict(one) for one in best.values()],
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
