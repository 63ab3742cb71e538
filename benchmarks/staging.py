"""What a staged copy costs: by reference or with the texts inside, scattered or in order.

::

    python -m benchmarks.staging
    python -m benchmarks.staging --rows 1000000 --documents 200000 --write
    python -m benchmarks.staging --rows 1000000 --no-rank --write

The same candidates are ranked by the lexical family from each layout, each in a process of its own
that starts its own Ray; rates count everything from planning to publication. One more list of
100,000 candidates among ordinary ones shows whether memory follows the largest query. Memory is
sampled as in ``benchmarks.lexical_throughput``, and of the driver alone beside it.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine, sampled
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

_CANDIDATES: Final = 100
_WORDS: Final = 70
_STRIDE: Final = 1_009
_GIANT: Final = 100_000
T = TypeVar("T")

_RESULT: Final = Path(__file__).parent / "results" / "staging.json"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One layout.

    Attributes:
        layout: of the input.
        rows: candidates ranked.
        strategy: of the staged copy; None: the input was read as it is.
        staging_s: that making the copy took, Ray's start included where it was needed.
        seconds: from planning to publication, or to the plan where nothing is ranked.
        rows_per_s: their ratio.
        copy_mib: size of the copy.
        peak_mib: highest sum of unique set sizes and shared memory, less what was there before.
        peak_process_mib: highest unique set size of one process.
        driver_mib: highest resident set size of the driver.
    """

    layout: str
    rows: int
    strategy: str | None
    staging_s: float
    seconds: float
    rows_per_s: float
    copy_mib: float
    peak_mib: float
    peak_process_mib: float
    driver_mib: float


@dataclass(frozen=True)
class Lists:
    """Ids of candidates [N] and the collection that they refer to."""

    query: np.ndarray[Any, Any]
    document: np.ndarray[Any, Any]
    texts: pa.Array
    queries: pa.Array

    def ids(self) -> pa.Table:
        """By reference."""
        score = np.tile(np.arange(_CANDIDATES, 0, -1.0), -(-len(self.query) // _CANDIDATES))
        found = {"query_id": self.query, "doc_id": self.document, "score": score[: len(self.query)]}
        return pa.table(found)

    def inside(self) -> pa.Table:
        """With the texts."""
        rows = self.ids()
        query = self.queries.take(pa.array(self.query))
        text = self.texts.take(pa.array(self.document))
        return rows.append_column("query", query).append_column("text", text)


def made_lists(rows: int, documents: int, *, giant: bool) -> Lists:
    """Deterministic lists of 100 documents of about 70 words; a ``giant`` one in the middle."""
    chance = np.random.default_rng(0)
    words = pa.array([f"word{i}" for i in range(5_000)])
    query = np.arange(rows) // _CANDIDATES
    # No document twice in a list: the stride and the number of documents have no common divisor.
    start = np.repeat(chance.integers(0, documents, -(-rows // _CANDIDATES)), _CANDIDATES)[:rows]
    document = (start + np.arange(rows) % _CANDIDATES * _STRIDE) % documents
    if giant:
        at = rows // 2 // _CANDIDATES * _CANDIDATES
        query = np.insert(query, at, np.full(_GIANT, query.max() + 1))
        document = np.insert(document, at, chance.permutation(documents)[:_GIANT])
    asked = int(query.max()) + 1
    return Lists(
        query, document, _texts(chance, words, documents, _WORDS), _texts(chance, words, asked, 6)
    )


def _texts(chance: np.random.Generator, words: pa.Array, count: int, length: int) -> pa.Array:
    picked = words.take(pa.array(chance.integers(0, len(words), count * length)))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(0, count * length + 1, length)), picked)
    return pc.binary_join(lists, " ")


def put_files(folder: Path, table: pa.Table, *, per_file: int = 100_000) -> str:
    """Rows as files of a new folder, whose path is returned."""
    folder.mkdir()
    for first in range(0, table.num_rows, per_file):
        piece = table.slice(first, per_file)
        pq.write_table(piece, folder / f"part-{first:09d}.parquet", row_group_size=10_000)
    return str(folder)


def _inside(folder: Path, lists: Lists) -> dict[str, Any]:
    return {"path": put_files(folder / "in", lists.inside())}


def _inside_scattered(folder: Path, lists: Lists) -> dict[str, Any]:
    table = lists.inside()
    return {"path": put_files(folder / "in", table.take(_shuffled(table.num_rows)))}


def _reference(folder: Path, lists: Lists) -> dict[str, Any]:
    return {"path": put_files(folder / "in", lists.ids()), **_collection(folder, lists)}


def _reference_scattered(folder: Path, lists: Lists) -> dict[str, Any]:
    table = lists.ids()
    path = put_files(folder / "in", table.take(_shuffled(table.num_rows)))
    return {"path": path, **_collection(folder, lists)}


def _reference_joined(folder: Path, lists: Lists) -> dict[str, Any]:
    return _reference(folder, lists) | {"broadcast_mib": 0}


def _collection(folder: Path, lists: Lists) -> dict[str, Any]:
    corpus = pa.table({"doc_id": np.arange(len(lists.texts)), "text": lists.texts})
    queries = pa.table({"query_id": np.arange(len(lists.queries)), "query": lists.queries})
    return {
        "corpus": put_files(folder / "corpus", corpus),
        "queries": put_files(folder / "queries", queries),
    }


def _shuffled(rows: int) -> pa.Array:
    return pa.array(np.random.default_rng(1).permutation(rows))


_LAYOUTS: Final[dict[str, tuple[Callable[[Path, Lists], dict[str, Any]], bool]]] = {
    "texts inside, in order": (_inside, False),
    "texts inside, scattered": (_inside_scattered, False),
    "by reference, in order": (_reference, False),
    "by reference, scattered": (_reference_scattered, False),
    "by reference, corpus joined by a shuffle": (_reference_joined, False),
    "by reference, in order, one list of 100,000": (_reference, True),
    "by reference, scattered, one list of 100,000": (_reference_scattered, True),
}


def measure(layout: str, rows: int, documents: int, rank: bool) -> Measurement:
    """Rank one layout through a fresh local Ray, or only plan it."""
    write, giant = _LAYOUTS[layout]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = _written(write, folder, rows, documents, giant)
        count = rows + _GIANT * giant
        config = JobConfig.model_validate(
            {
                "model": {"name": "lexical"},
                "input": given,
                "output": {"path": str(folder / "out")},
                "units": {"documents": 10_000},
                "ray": {"mode": "cluster"},
                "progress": {"interval_s": 3600},
            }
        )
        with sampled() as peak, driver_peak() as driver, ExitStack() as staying:
            started = time.monotonic()
            prepared = prepare(config, staying=staying)
            found = execute(prepared).manifest if rank else None
            seconds = time.monotonic() - started
        if prepared.source.rows != count or (found and found["quarantined"]):
            raise RuntimeError(f"{layout}: not {count} documents without a fault")
        staged = None if prepared.staged is None else prepared.staged.report()
        return Measurement(
            layout=layout,
            rows=count,
            strategy=None if staged is None else staged["strategy"],
            staging_s=0.0 if staged is None else round(staged["seconds"], 1),
            seconds=round(seconds, 1),
            rows_per_s=round(count / seconds),
            copy_mib=0.0 if staged is None else round(staged["bytes"] / 2**20, 1),
            peak_mib=round(peak["total"]),
            peak_process_mib=round(peak["process"]),
            driver_mib=round(driver["peak"]),
        )


def _written(
    write: Callable[[Path, Lists], dict[str, Any]], folder: Path, rows: int, documents: int,
    giant: bool,
) -> dict[str, Any]:  # fmt: skip
    """The section ``input``, made in a process of its own, so that its memory is nobody's."""
    return apart(_write, write, folder, rows, documents, giant)


def _write(
    write: Callable[[Path, Lists], dict[str, Any]], folder: Path, rows: int, documents: int,
    giant: bool,
) -> dict[str, Any]:  # fmt: skip
    return write(folder, made_lists(rows, documents, giant=giant))


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def driver_peak() -> Iterator[dict[str, float]]:
    """Highest resident set size of this process in MiB while the body runs."""
    peak, stop, own = {"peak": 0.0}, threading.Event(), psutil.Process()

    def sample() -> None:
        while not stop.wait(0.2):
            peak["peak"] = max(peak["peak"], own.memory_info().rss / 2**20)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def main(
    rows: Annotated[int, typer.Option(min=1_000, help="Candidates.")] = 200_000,
    documents: Annotated[int, typer.Option(min=100_000, help="Of the corpus.")] = 200_000,
    layout: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    rank: Annotated[bool, typer.Option(help="Rank; else the copy is made and planned.")] = True,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    for name in layout or _LAYOUTS:
        one = apart(measure, name, rows, documents, rank)
        typer.echo(
            f"{one.layout:<45} {one.rows:>9,} rows  {one.seconds:>6,.1f} s "
            f"({one.staging_s:,.1f} s staging, {one.strategy})  {one.rows_per_s:>7,} rows/s  peak "
            f"{one.peak_mib:,.0f} MiB, largest process {one.peak_process_mib:,.0f} MiB, driver "
            f"{one.driver_mib:,.0f} MiB"
        )
        if write:
            ranked = "" if rank else " --no-rank"
            _record(
                one, f"python -m benchmarks.staging --rows {rows} --documents {documents}{ranked}"
            )


def _record(one: Measurement, command: str) -> None:
    """Put a measurement among those of the same command, by the order of the layouts."""
    before = json.loads(_RESULT.read_text()) if _RESULT.exists() else {}
    kept = {run["layout"]: run for run in before.get(command, {}).get("runs", ())}
    kept[one.layout] = asdict(one)
    runs = [kept[name] for name in _LAYOUTS if name in kept]
    result = before | {command: {"device": "CPU", "machine": machine(), "runs": runs}}
    _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
