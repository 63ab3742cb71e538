"""A lease that is damaged: its owner is fenced, nobody takes it unasked, and a repair takes it."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import JobConfig
from pipeline.errors import DamagedRunError, FencedError, LeaseHeldError
from pipeline.execution.preparation import prepare
from pipeline.execution.runs.holder import NAME, RELEASED, may_begin, read_holder
from pipeline.execution.runs.lease import Lease, take
from pipeline.storage.store import read_versioned
from tests.execution.drivers import Drivers, lexical_job, wait_for
from tests.execution.oracle import files_below, published
from tests.makers import long_table, write

TTL_S = 0.3

DAMAGE: dict[str, Callable[[Path], object]] = {
    "junk": lambda path: path.write_bytes(b"{junk"),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link": lambda path: (path.unlink(), path.symlink_to("/nowhere")),
    "another": lambda path: path.write_bytes(
        path.read_bytes().replace(path.parent.name.encode(), b"0" * 16)
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / ("ab" * 8))


@pytest.fixture
def held(folder: str) -> Iterator[Lease]:
    ours = take(folder, ttl_s=TTL_S, progress=dict)
    yield ours
    ours.release()


@pytest.mark.parametrize("kind", DAMAGE)
def test_an_owner_whose_lease_is_damaged_is_fenced(folder: str, held: Lease, kind: str) -> None:
    path = Path(folder, NAME)
    assert may_begin(folder, held.epoch)
    DAMAGE[kind](path)
    assert not may_begin(folder, held.epoch)
    with pytest.raises(DamagedRunError, match=r"lease\.json: "):
        read_holder(folder)
    wait_for(lambda: held.lost)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"lost its lease, stops and publishes nothing.*json"):
            held.fence()
    with pytest.raises(DamagedRunError):
        take(folder, ttl_s=TTL_S, progress=dict)
    before = None if kind in ("folder", "link") else path.read_bytes()
    held.release()
    assert before is None or path.read_bytes() == before, "what it lost is not written over"


def test_a_repair_takes_a_damaged_lease_with_an_epoch_that_nobody_had(folder: str) -> None:
    path, epochs = Path(folder, NAME), set()
    for _ in range(3):
        ours = take(folder, ttl_s=TTL_S, progress=dict, repair=True)
        epochs.add(ours.epoch)
        assert may_begin(folder, ours.epoch)
        ours.release()
        path.write_bytes(b"")
    following = take(folder, ttl_s=TTL_S, progress=dict, repair=True)
    following.release()
    assert len(epochs | {following.epoch}) == 4
    assert following.epoch == max(epochs | {following.epoch})
    after = take(folder, ttl_s=TTL_S, progress=dict)
    after.release()
    assert after.epoch == following.epoch + 1


def test_a_repair_waits_for_whoever_still_writes(folder: str, tmp_path: Path) -> None:
    """Somebody puts a whole lease back while a repair looks on: that one counts."""
    path = Path(folder, NAME)
    other = take(folder, ttl_s=TTL_S, progress=dict)
    path.write_bytes(b"junk")
    wait_for(lambda: other.lost)
    elsewhere = tmp_path / "elsewhere" / ("ab" * 8)
    living = take(str(elsewhere), ttl_s=TTL_S, progress=dict)
    stop = threading.Event()

    def write_for_ever() -> None:
        while not stop.wait(0.02):
            copied = elsewhere / "copy"
            shutil.copy(elsewhere / NAME, copied)
            copied.replace(path)

    writer = threading.Thread(target=write_for_ever)
    threading.Timer(0.1, writer.start).start()
    try:
        with pytest.raises(LeaseHeldError, match="is at work on this run"):
            take(folder, ttl_s=1.0, progress=dict, repair=True)
    finally:
        stop.set()
        writer.join()
        living.release()


def test_a_lease_that_is_removed_was_taken_over_by_nobody(folder: str, held: Lease) -> None:
    shutil.rmtree(folder)
    with pytest.raises(FencedError, match=r"lease\.json: it is gone, removed or moved"):
        held.fence()
    assert held.lost
    held.release()
    assert not Path(folder).exists(), "nothing is written into a folder that is gone"


def test_the_thread_that_renews_says_what_goes_wrong_and_goes_on(
    folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = threading.Event()

    def progress() -> dict[str, object]:
        if broken.is_set():
            raise RuntimeError("dictionary changed size during iteration")
        return {}

    ours = take(folder, ttl_s=TTL_S, progress=progress)
    broken.set()
    with caplog.at_level(logging.WARNING, "pipeline"):
        wait_for(lambda: "not renewed, trying again: RuntimeError: dictionary" in caplog.text)
    broken.clear()
    before = read_versioned(f"{folder}/{NAME}")
    wait_for(lambda: read_versioned(f"{folder}/{NAME}") != before)
    assert not ours.lost
    ours.release()
    holder = read_holder(folder)
    assert holder is not None
    assert holder.state == RELEASED


@pytest.mark.parametrize("kind", ["junk", "folder"])
def test_a_living_driver_whose_lease_is_damaged_leaves(
    drivers: Drivers, tmp_path: Path, kind: str
) -> None:
    source = write(tmp_path / "in.parquet", long_table(queries=16), row_group_size=20)
    output = str(tmp_path / "out")
    job = lexical_job(source, output, lease={"ttl_s": 1.0})
    skip = ("tests.execution.drivers:skip_probe",)
    driver = drivers.start(job, at="unit.written:1=pause", hooks=skip)
    driver.wait_until_stopped()
    path = Path(prepare(JobConfig.model_validate(job)).folder.path, NAME)
    DAMAGE[kind](path)
    driver.send(signal.SIGCONT)
    assert driver.wait() == 76, driver.errors
    assert "lost its lease, stops and publishes nothing" in driver.errors
    assert "lease.json" in driver.errors
    assert published(output) is None
    ranked = [name for name in files_below(output) if "/ranked/" in name and ".part-" not in name]
    assert len(ranked) == 1, "no further unit was begun"
    assert drivers.run(job, hooks=skip) == 4


def test_a_lease_carries_the_progress_from_its_first_moment(folder: str) -> None:
    path = Path(folder, NAME)
    for epoch in (1, 2):
        told = {"device_hours": {"cpu": 1.0 * epoch}}
        ours = take(folder, ttl_s=3_600, progress=lambda told=told: told)  # type: ignore[misc]
        holder = read_holder(folder)
        assert holder is not None
        assert (holder.epoch, holder.beat, holder.progress) == (epoch, 0, told)
        ours.release()
    path.write_bytes(b"")
    ours = take(folder, ttl_s=TTL_S, progress=lambda: told, repair=True)
    ours.release()
    repaired = read_holder(folder)
    assert repaired is not None
    assert repaired.progress == told
