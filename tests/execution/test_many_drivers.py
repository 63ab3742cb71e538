"""Several drivers on one run: one at a time, the others told or fenced; and that it is noticed
when that breaks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.runs.lease import take
from tests.execution.drivers import Driver, Drivers, lexical_job
from tests.execution.oracle import files_below, kept, problems, published, report
from tests.makers import long_table, write

HOOKS = ("tests.execution.drivers:skip_probe",)
BROKEN = (*HOOKS, "tests.execution.drivers:broken_protocol")
CLOCKS = ("an_hour_fast", "an_hour_slow", "skip_probe")

TABLE = long_table(queries=16)

#: Long enough that a busy machine does not take a living driver for dead.
LEASE = {"lease": {"ttl_s": 6.0}}

Reference = dict[str, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", TABLE, row_group_size=20)


@pytest.fixture
def reference(drivers: Drivers, path: Path, tmp_path: Path) -> Reference:
    """What a run leaves that nothing happens to."""
    output = str(tmp_path / "reference")
    assert drivers.run(lexical_job(path, output)) == 0
    found = kept(files_below(output))
    assert not problems(output, TABLE, found)
    return found


def at_once(drivers: Drivers, path: Path, output: str, hooks: tuple[str, ...]) -> list[Driver]:
    job = lexical_job(path, output, **LEASE)
    started = [
        drivers.start(job, hooks=(*hooks, f"tests.execution.drivers:{clock}")) for clock in CLOCKS
    ]
    for driver in started:
        driver.wait()
    return started


def test_of_three_drivers_one_publishes_twelve_times(
    drivers: Drivers, path: Path, s3_folder: str, reference: Reference
) -> None:
    for number in range(12):
        output = f"{s3_folder}/{number}"
        started = at_once(drivers, path, output, HOOKS)
        codes = sorted(driver.wait() for driver in started)
        errors = "\n".join(driver.errors for driver in started)
        assert set(codes) <= {0, 75}, errors
        assert sum("\npublished" in driver.errors for driver in started) == 1, errors
        assert not problems(output, TABLE, reference)


def test_a_second_driver_is_told_who_is_at_work(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    job = lexical_job(path, str(tmp_path / "out"), lease={"ttl_s": 3.0})
    folder = prepare(JobConfig.model_validate(job)).folder.path
    ours = take(folder, ttl_s=3.0, progress=dict)
    second = drivers.start(job)
    assert second.wait() == 75, second.errors
    assert f"process {os.getpid()} (epoch 1) is at work on this run" in second.errors
    ours.release()
    assert drivers.run(job) == 0


@pytest.mark.parametrize(
    "point",
    [
        "unit.begun:2",
        "unit.scored:2",
        "unit.written:1",
        "units.verified:1",
        "manifest.written:1",
        "lease.fenced:1",
    ],
)
def test_a_driver_that_was_overtaken_publishes_nothing(
    drivers: Drivers, path: Path, s3_folder: str, reference: Reference, point: str
) -> None:
    job = lexical_job(path, s3_folder)
    zombie = drivers.start(job, at=f"{point}=pause", hooks=HOOKS)
    zombie.wait_until_stopped()
    assert published(s3_folder) is None
    second = drivers.start(job, hooks=HOOKS)
    assert second.wait() == 0, second.errors
    assert not problems(s3_folder, TABLE, reference)
    before = files_below(s3_folder)
    zombie.send(signal.SIGCONT)
    assert zombie.wait() == 76, zombie.errors
    assert "another driver took this run over" in zombie.errors
    after = files_below(s3_folder)
    # A mark of the attempt that it was in the middle of is all that it may remove.
    assert {n: d for n, d in after.items() if "/attempts/" not in n} == before


def test_the_suite_notices_a_broken_protocol(
    drivers: Drivers, path: Path, tmp_path: Path, reference: Reference
) -> None:
    """The negative control: unconditional writes, random names and no lease do not pass."""
    alone = str(tmp_path / "alone")
    assert drivers.run(lexical_job(path, alone), hooks=BROKEN) == 0
    assert not problems(alone, TABLE, reference), "only what happens at once may show it"
    output = str(tmp_path / "zombie")
    job = lexical_job(path, output)
    zombie = drivers.start(job, at="unit.scored:2=pause", hooks=BROKEN)
    zombie.wait_until_stopped()
    assert drivers.run(job, hooks=BROKEN) == 0
    zombie.send(signal.SIGCONT)
    assert zombie.wait() == 0, "nothing fences it"
    found = problems(output, TABLE, reference)
    assert any("too many" in problem for problem in found), found


def test_a_published_run_is_left_as_it_is(
    drivers: Drivers, path: Path, tmp_path: Path, reference: Reference
) -> None:
    output = str(tmp_path / "reference")
    before = {p: p.stat().st_mtime_ns for p in Path(output).rglob("*")}
    again = drivers.start(lexical_job(path, output))
    assert again.wait() == 0
    assert "finished before" in again.errors
    assert {p: p.stat().st_mtime_ns for p in Path(output).rglob("*")} == before


def test_other_scores_are_another_run(
    drivers: Drivers, path: Path, tmp_path: Path, reference: Reference
) -> None:
    output = tmp_path / "reference"
    before = files_below(str(output))
    other = lexical_job(path, str(output), input={"path": str(path), "text_separator": "+"})
    assert drivers.run(other) == 0
    after = files_below(str(output))
    old, new = before["LATEST.json"], after.pop("LATEST.json")
    assert new != old
    assert {name: after[name] for name in before if name in after} == {
        name: data for name, data in before.items() if name != "LATEST.json"
    }
    assert len({name.partition("/")[0] for name in after}) == 2


def test_input_that_changes_under_a_run_stops_it(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    running = drivers.start(lexical_job(path, output), at="unit.written:2=pause")
    running.wait_until_stopped()
    write(path, pa.concat_tables([TABLE, TABLE.slice(0, 0)]), row_group_size=10)
    running.send(signal.SIGCONT)
    assert running.wait() == 3, running.errors
    assert f"{path}: changed since the run was planned" in running.errors
    assert published(output) is None
    assert report(output)["state"] == "InputContractError"
