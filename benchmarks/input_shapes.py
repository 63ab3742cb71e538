"""Time and memory to plan and to read inputs of shapes that hurt.

::

    python -m benchmarks.input_shapes
    python -m benchmarks.input_shapes --scale 0.05 --shape small-files
    python -m benchmarks.input_shapes --write

Each shape is written by a process of its own, then planned and read by another one, whose peak
memory is thus that of planning and reading. Units are read as a worker reads them, at places all
over the input; they are not scored.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import plan_units
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged
from pipeline.config import InputConfig

_RESULT = Path(__file__).parent / "results" / "input_shapes.json"

_UNIT = 500
_LIST = 100
_TEXT = 2_000
_READ = 40

#: Rows or bytes of each shape at scale 1.
SHAPES = {
    "small-files": "10,000 files of 10 rows",
    "large-file": "one file of 4 GiB in row groups of 64 MiB",
    "one-group-long": "one row group of 2 GiB, a row per candidate",
    "one-group-nested-index": "one row group of 2 GiB, nested, with an offset index",
    "one-group-nested": "one row group of 2 GiB, nested, without",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What one shape costs.

    Attributes:
        name: of :data:`SHAPES`.
        files: of the input.
        stored_mib: their size.
        rows: their rows.
        units: of the plan, of about 500 documents each where that is possible.
        plan_s: to list, identify and cut the input, once.
        plan_peak_mib: highest resident set until then, libraries included.
        read_units: units that were read, evenly over the plan.
        read_s: for each, the first of which looks for pages.
        peak_mib: highest resident set at the end.
    """

    name: str
    files: int
    stored_mib: float
    rows: int
    units: int
    plan_s: float
    plan_peak_mib: float
    read_units: int
    read_s: tuple[float, ...]
    peak_mib: float


def write_shape(folder: Path, name: str, scale: float) -> None:
    """Write the files of a shape."""
    if name == "small-files":
        for number in range(int(10_000 * scale)):
            rows = next(_long(1, 10, 40, first=number))
            pq.write_table(pa.table(rows), folder / f"part-{number:05d}.parquet")
        return
    size = int((4 if name == "large-file" else 2) * 2**30 * scale)
    lists = size // (_LIST * _TEXT)
    nested = "nested" in name
    batches = (_nested if nested else _long)(lists, _LIST, _TEXT)
    first = next(batches)
    with pq.ParquetWriter(
        folder / "one.parquet",
        first.schema,
        compression="none",
        use_dictionary=["query", "query_id"],
        write_page_index=name.endswith("index"),
    ) as writer:
        if name == "large-file":
            for batch in _chained(first, batches):
                writer.write_table(pa.Table.from_batches([batch]))
        else:
            whole = pa.Table.from_batches(list(_chained(first, batches)))
            writer.write_table(whole, row_group_size=whole.num_rows)


def measure(folder: str, name: str) -> Shape:
    """Plan the input and read some of its units."""
    begun = time.perf_counter()
    source = open_input(InputConfig(path=(folder,)))
    plan = plan_units(source, documents=_UNIT, first=_UNIT, fingerprint="f")
    plan_s, plan_peak = time.perf_counter() - begun, _peak_mib()
    chosen = sorted({len(plan.units) * i // _READ for i in range(_READ)})
    seconds = []
    for number in chosen:
        unit = plan.units[number]

        def read(opened: Input, start: int = unit.start, stop: int = unit.stop) -> int:
            return len(read_lists(opened, start, stop))

        begun = time.perf_counter()
        read_unchanged(source, read)
        seconds.append(round(time.perf_counter() - begun, 4))
    return Shape(
        name=name,
        files=len(source.files),
        stored_mib=round(sum(file.identity.size for file in source.files) / 2**20, 1),
        rows=source.rows,
        units=len(plan.units),
        plan_s=round(plan_s, 2),
        plan_peak_mib=plan_peak,
        read_units=len(chosen),
        read_s=tuple(seconds),
        peak_mib=_peak_mib(),
    )


def _long(lists: int, documents: int, size: int, *, first: int = 0) -> Iterator[pa.RecordBatch]:
    """A batch of about 64 MiB, a row per candidate, after the other."""
    words = _Words(first)
    at_once = max(1, 2**26 // (documents * size))
    for start in range(first, first + lists, at_once):
        numbers = range(start, min(first + lists, start + at_once))
        yield pa.record_batch(
            {
                "query_id": [f"q{n}" for n in numbers for _ in range(documents)],
                "query": [f"query {n}" for n in numbers for _ in range(documents)],
                "doc_id": [f"d{n}-{i}" for n in numbers for i in range(documents)],
                "text": words.texts(len(numbers) * documents, size),
            }
        )


def _nested(lists: int, documents: int, size: int) -> Iterator[pa.RecordBatch]:
    """The same lists, a row each."""
    for batch in _long(lists, documents, size):
        count = batch.num_rows // documents
        first = pa.array(range(0, batch.num_rows, documents))
        items = pa.StructArray.from_arrays(
            [batch.column("doc_id"), batch.column("text")], ["doc_id", "text"]
        )
        offsets = pa.array(range(0, (count + 1) * documents, documents), pa.int32())
        outer = batch.select(["query_id", "query"]).take(first)
        yield outer.append_column("candidates", pa.ListArray.from_arrays(offsets, items))


class _Words:
    """Texts that are pieces of one long random text."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._pool = self._chance.randbytes(2**16).hex()

    def texts(self, count: int, size: int) -> list[str]:
        last = len(self._pool) - size
        starts = (self._chance.randrange(last) for _ in range(count))
        return [self._pool[start : start + size] for start in starts]


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _peak_mib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main(
    shape: Annotated[list[str] | None, typer.Option(help="Only these; default: all.")] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=1, help="Part of the full size.")] = 1.0,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    found = []
    spawn = multiprocessing.get_context("spawn")
    for name in shape or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            with spawn.Pool(1) as pool:
                pool.apply(write_shape, (Path(folder), name, scale))
            with spawn.Pool(1) as pool:
                one = pool.apply(measure, (folder, name))
        found.append(one)
        middle = sorted(one.read_s)[len(one.read_s) // 2]
        typer.echo(
            f"{name:<24} {one.stored_mib:>7,.0f} MiB {one.units:>6} units, plan {one.plan_s:.2f} s "
            f"{one.plan_peak_mib:,.0f} MiB; a unit {middle:.3f} s (most {max(one.read_s):.3f}), "
            f"peak {one.peak_mib:,.0f} MiB"
        )
    if write:
        before = json.loads(_RESULT.read_text(encoding="utf-8")) if _RESULT.exists() else {}
        shapes = {one["name"]: one for one in before.get("shapes", ())}
        shapes |= {one.name: asdict(one) | {"is": SHAPES[one.name]} for one in found}
        result: dict[str, Any] = {
            "command": "python -m benchmarks.input_shapes --write",
            "machine": machine(),
            "shapes": list(shapes.values()),
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
