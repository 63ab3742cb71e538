"""The scale benchmark at a size that takes seconds: same steps, same requests per unit."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scale import Step, plan_of, run_of
from benchmarks.scale_picture import draw
from benchmarks.scale_store import CountingStore, StubUnits
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.seals import is_whole

UNITS = 40


def steps_of(folder: Path) -> dict[str, Step]:
    """In a process of its own, for the benchmark puts its store in place of the product's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {step.name: step for step in pool.apply(run_of, (str(folder), UNITS))}


def test_a_run_of_stubs_asks_the_store_for_so_much_a_unit(tmp_path: Path) -> None:
    steps = steps_of(tmp_path)
    committed = steps["units committed"]  # the second half
    assert committed.worker_requests == {"PUT": 2 * UNITS, "DELETE": 1.5 * UNITS, "GET": UNITS}
    assert steps["check"].requests["GET"] == UNITS
    for name in ("publish", "status"):  # whatever the number of units
        assert sum(steps[name].requests.values()) < 40
    draw({str(UNITS): [vars(step) for step in steps.values()]}, tmp_path / "scale.svg")
    assert (tmp_path / "scale.svg").stat().st_size > 1_000


def test_a_plan_is_made_of_made_up_footers(tmp_path: Path) -> None:
    assert [step.name for step in plan_of(str(tmp_path), 25_000_001)][1] == "plan"


def test_stub_files_are_what_a_worker_writes() -> None:
    unit = "0123456789abcdef01234567"
    data, told = StubUnits("ab" * 8, queries=3, documents=10).file(unit)
    assert is_whole(data)
    footer = pq.ParquetFile(pa.BufferReader(data)).metadata.metadata
    assert footer[b"unit"].decode() == unit
    assert footer[b"counts"].decode() == told
    counts = UnitCounts.from_metadata(told)
    assert (counts.unit, counts.documents, len(set(counts.query_hashes.tolist()))) == (unit, 10, 3)


def test_the_store_counts_and_keeps_conditions(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "objects")
    assert store.create("s3://a/b/c", b"one")
    assert not store.create("s3://a/b/c", b"two")
    [(data, version)] = [store.read("s3://a/b/c") or (b"", "")]
    assert data == b"one"
    assert store.replace("s3://a/b/c", b"three", "no such version") is None
    assert store.replace("s3://a/b/c", b"three", version) is not None
    assert [entry.name for entry in store.entries("s3://a")] == ["b"]
    store.delete("s3://a/b/c")
    assert store.read("s3://a/b/c") is None
    assert store.requests == {"PUT": 4, "GET": 2, "LIST": 1, "DELETE": 1}
