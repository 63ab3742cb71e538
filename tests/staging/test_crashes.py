"""The driver is killed at every step of a copy, and the next one goes on from what is there."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import failpoints
from tests.execution.drivers import KILLED, Drivers, lexical_job
from tests.execution.oracle import files_below
from tests.staging.layouts import Layout, collection, ranked_rows, scattered_long, trec

HOOKS = ("tests.execution.drivers:skip_probe", "tests.staging.layouts:small_parts")


def job_of(given: dict[str, Any], output: Path) -> dict[str, Any]:
    job = lexical_job(given["path"], str(output))
    return job | {"input": given, "units": {"documents": 60}}


def parts_of(output: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every part."""
    files = sorted(output.glob("_staged/*/*.parquet"))
    return {file.name: (file.stat().st_ino, file.read_bytes()) for file in files}


def contents(output: Path) -> tuple[dict[str, bytes], Any]:
    [run] = [path.parent for path in output.glob("*/_SUCCESS")]
    return {name: data for name, (_, data) in parts_of(output).items()}, ranked_rows(str(run))


@pytest.mark.parametrize("layout", [trec, scattered_long])
def test_a_copy_is_finished_by_the_next_driver(
    layout: Layout, drivers: Drivers, tmp_path: Path
) -> None:
    given = layout(tmp_path, collection())
    hits = tmp_path / "hits.json"
    clean = job_of(given, tmp_path / "clean")
    counting = (*HOOKS, "tests.execution.drivers:count_failpoints")
    assert (
        drivers.run(clean, hooks=counting, at="none:1=raise", environment={"HITS": str(hits)}) == 0
    )
    reference = contents(tmp_path / "clean")
    counts: dict[str, int] = json.loads(hits.read_text())
    points = [
        (name, hit)
        for name in failpoints.OF_STAGING
        for hit in sorted({1, (counts[name] + 1) // 2, counts[name]})
    ]

    def crash_and_finish(point: tuple[str, int]) -> list[str]:
        name, hit = point
        output = tmp_path / f"{name}-{hit}"
        job = job_of(given, output)
        crashed = drivers.start(job, at=f"{name}:{hit}=crash", hooks=HOOKS)
        if crashed.wait() != KILLED:
            return [f"{point} was not reached: {crashed.errors}"]
        before = parts_of(output)
        second = drivers.start(job, hooks=HOOKS)
        if second.wait() != 0:
            return [f"{point}: {second.errors}"]
        now = parts_of(output)
        again = [part for part in before if now[part] != before[part]]
        wrong = [f"{point}: {part} was made again" for part in again]
        found = contents(output)
        same = found[0] == reference[0] and found[1].equals(reference[1])
        return wrong if same else [*wrong, f"{point}: other rows"]

    with ThreadPoolExecutor(2) as pool:
        wrong = [problem for found in pool.map(crash_and_finish, points) for problem in found]
    assert not wrong, "\n".join(wrong)
    assert len(points) > 8


def test_two_drivers_at_once_make_one_copy(drivers: Drivers, tmp_path: Path) -> None:
    given = trec(tmp_path, collection())
    job = job_of(given, tmp_path / "out")
    slow = drivers.start(job, at="staging.part_ready:2=pause", hooks=HOOKS)
    slow.wait_until_stopped()
    assert drivers.run(job, hooks=HOOKS) == 0
    before = parts_of(tmp_path / "out")
    slow.send(signal.SIGCONT)
    assert slow.wait() == 0, slow.errors
    assert parts_of(tmp_path / "out") == before


def test_a_copy_that_is_terminated_is_finished_by_the_next_driver(
    drivers: Drivers, tmp_path: Path
) -> None:
    given = trec(tmp_path, collection())
    job, clean = job_of(given, tmp_path / "out"), job_of(given, tmp_path / "clean")
    first = drivers.start(job, at="staging.part_ready:3=pause", hooks=HOOKS)
    first.wait_until_stopped()
    first.send(signal.SIGTERM)
    first.send(signal.SIGCONT)
    assert first.wait() == -signal.SIGTERM, first.errors
    before = parts_of(tmp_path / "out")
    assert before
    assert [drivers.run(one, hooks=HOOKS) for one in (job, clean)] == [0, 0]
    now = parts_of(tmp_path / "out")
    assert before.items() <= now.items(), "what was there is kept"
    found, reference = contents(tmp_path / "out"), contents(tmp_path / "clean")
    assert found[0] == reference[0]
    assert found[1].equals(reference[1])


def test_a_copy_in_a_store_is_finished_by_the_next_driver(
    drivers: Drivers, s3_folder: str, tmp_path: Path
) -> None:
    given = trec(tmp_path, collection())
    assert drivers.run(job_of(given, tmp_path / "clean"), hooks=HOOKS) == 0
    reference, _ = contents(tmp_path / "clean")
    job = job_of(given, tmp_path) | {"output": {"path": s3_folder}}
    assert drivers.run(job, at="staging.part_written:3=crash", hooks=HOOKS) == KILLED
    second = drivers.start(job, hooks=HOOKS)
    assert second.wait() == 0, second.errors
    files = files_below(s3_folder)
    staged = {
        Path(name).name: data
        for name, data in files.items()
        if name.startswith("_staged/") and name.endswith(".parquet")
    }
    assert staged == reference
    assert "LATEST.json" in files
