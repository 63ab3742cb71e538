"""The driver is killed at every step of a reuse table, and the next one goes on from there."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from pathlib import Path

from pipeline.execution.runs.run_folder import RunFolder
from pipeline.failpoints import OF_REUSE
from pipeline.refresh.reuse.previous import Previous
from tests.execution import drivers as drivers_module
from tests.execution.drivers import KILLED, Drivers
from tests.refresh.reuse import nights
from tests.staging.layouts import ranked_rows

HOOKS = ("tests.execution.drivers:skip_probe", "tests.refresh.reuse.test_crashes:second_night")
DATE = nights.FIRST + datetime.timedelta(days=1)
PARTS = 2


def second_night() -> None:
    """A hook: the driver's job is that of a second night."""
    path, digest = os.environ["PREVIOUS"].split()
    previous = Previous(folder=RunFolder(path), manifest_sha256=digest, sequence=1)

    def take(config: nights.JobConfig, **_: object) -> nights.Prepared:
        return nights.prepared(config, DATE, previous)

    drivers_module.prepare = take  # type: ignore[attr-defined]  # as another hook does


def table_files(output: Path) -> dict[str, tuple[int, bytes]]:
    files = sorted(output.glob("_reuse/*/*"))
    return {file.name: (file.stat().st_ino, file.read_bytes()) for file in files}


def contents(files: dict[str, tuple[int, bytes]]) -> dict[str, bytes]:
    return {name: data for name, (_, data) in files.items()}


def test_a_table_is_finished_by_the_next_driver(
    drivers: Drivers, tmp_path: Path, believed_store: None
) -> None:
    first = [nights.Query(n, 0, tuple((d, f"salt {n} {d}") for d in range(5))) for n in range(6)]
    second = [nights.Query(n, int(n == 4), first[n].documents[n % 2 :]) for n in range(1, 6)]
    one = nights.put(tmp_path / "first", tuple(first))
    two = nights.put(tmp_path / "second", tuple(second))
    outcome = nights.ran(nights.prepared(nights.job(one, tmp_path / "out"), nights.FIRST, None))
    previous = nights.published(outcome)
    shutil.rmtree(tmp_path / "out" / "_reuse")
    environment = {"PREVIOUS": f"{previous.folder.path} {previous.manifest_sha256}"}
    reference = nights.prepared(nights.job(two, tmp_path / "clean"), DATE, previous)
    wanted = contents(table_files(tmp_path / "clean"))
    rows = ranked_rows(nights.ran(reference).folder)
    assert len(wanted) == 2 * PARTS + 1
    points = [(name, hit) for name in OF_REUSE[:-1] for hit in (1, PARTS)] + [(OF_REUSE[-1], 1)]
    for name, hit in points:
        output = tmp_path / f"{name}-{hit}"
        job = nights.job(two, output).model_dump(mode="json")
        how = {"hooks": HOOKS, "environment": environment}
        crashed = drivers.start(job, at=f"{name}:{hit}=crash", **how)  # type: ignore[arg-type]
        assert crashed.wait() == KILLED, crashed.errors
        before = table_files(output)
        finished = drivers.start(job, **how)  # type: ignore[arg-type]
        assert finished.wait() == 0, finished.errors
        now = table_files(output)
        assert contents(now) == wanted, (name, hit)
        again = [file for file in before if now[file] != before[file]]
        assert not again, (name, hit)
        [run] = [path.parent for path in output.glob("*/_SUCCESS")]
        described = json.loads((run / "run.json").read_text())
        assert described["reuse"]["table_id"] == reference.reuse.table_id  # type: ignore[union-attr]
        assert ranked_rows(str(run)).equals(rows)
