"""Which run is meant by an output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.run_folder import LATEST, RUN
from pipeline.storage.store import create_if_absent, join, write_whole
from tests.support.fault_proxy import FaultProxy

NAMES = [f"{n:016x}" for n in range(12)]


def with_runs(output: str, *names: str) -> None:
    for name in names:
        create_if_absent(join(output, name, RUN), b"{}")


def point_to(output: str, name: str) -> None:
    pointer = {
        "run_id": name, "manifest": f"{name}/manifest.json", "manifest_sha256": "0", "epoch": 1,
    }  # fmt: skip
    write_whole(join(output, LATEST), records.to_bytes(records.Pointer, pointer))


def test_of_many_runs_only_the_one_that_was_published_last_is_looked_into(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    with_runs(s3_folder, *NAMES)
    point_to(s3_folder, NAMES[7])
    fault_proxy.clear()
    assert find_run(s3_folder).path == join(s3_folder, NAMES[7])
    assert len(fault_proxy.requests) == 3, fault_proxy.requests


def test_of_several_runs_one_must_have_been_published(tmp_path: Path) -> None:
    with_runs(str(tmp_path), *NAMES)
    with pytest.raises(NotFoundError, match=r"holds 12 runs; give one of: 0{16}, "):
        find_run(str(tmp_path))
    point_to(str(tmp_path), "f" * 16)
    with pytest.raises(NotFoundError, match=r"names run f{16}, which is not here"):
        find_run(str(tmp_path))
    (tmp_path / LATEST).write_bytes(b"{")
    with pytest.raises(DamagedRunError, match=LATEST):
        find_run(str(tmp_path))


def test_the_only_run_is_meant_whatever_the_pointer_says(tmp_path: Path) -> None:
    with_runs(str(tmp_path), NAMES[0])
    (tmp_path / "notes").mkdir()
    for content in (None, NAMES[0], NAMES[1]):
        if content is not None:
            point_to(str(tmp_path), content)
        assert find_run(str(tmp_path)).path == str(tmp_path / NAMES[0])
    (tmp_path / LATEST).write_bytes(b"{")
    assert find_run(str(tmp_path)).path == str(tmp_path / NAMES[0])
