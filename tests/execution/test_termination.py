"""SIGTERM: what is at work may finish, the lease is given back, and the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import yaml

from tests.execution.drivers import ROOT, Driver, Drivers, lexical_job, wait_for
from tests.execution.oracle import files_below, kept, problems, report
from tests.makers import long_table, write

TERMINATED = 143


def terminate_at(
    drivers: Drivers,
    job: dict[str, object],
    point: str,
    number: signal.Signals = signal.SIGTERM,
    hooks: tuple[str, ...] = (),
) -> Driver:
    """A driver that gets a signal at a failpoint, and has ended."""
    driver = drivers.start(job, at=f"{point}=pause", hooks=hooks)
    driver.wait_until_stopped()
    driver.send(number)
    driver.send(signal.SIGCONT)
    driver.wait()
    return driver


def state_of_lease(output: str) -> str:
    [data] = [d for name, d in files_below(output).items() if name.endswith("/lease.json")]
    state: str = json.loads(data)["state"]
    return state


def test_the_unit_at_work_is_finished_and_no_other_begun(drivers: Drivers, tmp_path: Path) -> None:
    table = long_table(queries=16)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    clean, output = str(tmp_path / "clean"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, clean)) == 0
    units = sum("/ranked/" in name and ".part-" not in name for name in files_below(clean))
    job = lexical_job(path, output)
    driver = terminate_at(drivers, job, "unit.scored:2")
    assert driver.process.exitcode == TERMINATED, driver.errors
    assert "SIGTERM" in driver.errors
    done = [n for n in files_below(output) if "/ranked/" in n and ".part-" not in n]
    assert len(done) == 2
    assert state_of_lease(output) == "released"
    assert report(output)["state"] == "TerminatedError"
    assert drivers.run(job) == 0
    assert not problems(output, table, kept(files_below(clean)))
    assert report(output)["units_done_now"] == units - 2


def test_a_unit_that_outlasts_the_grace_is_left(drivers: Drivers, tmp_path: Path) -> None:
    table = long_table(queries=16)
    queries = [
        f"hanginforward {q}" if i > 40 else q for i, q in enumerate(table["query"].to_pylist())
    ]
    path = write(
        tmp_path / "in.parquet", table.set_column(1, "query", [queries]), row_group_size=20
    )
    output = str(tmp_path / "out")
    job = lexical_job(
        path,
        output,
        model={"family": "tests.execution.families.poisonous"},
        lease={"ttl_s": 0.5, "grace_s": 0.5},
    )
    driver = drivers.start(job)

    def in_its_third_unit() -> bool:
        names = files_below(output)
        return sum("/ranked/" in n for n in names) >= 2 and any(".score-1" in n for n in names)

    wait_for(in_its_third_unit, driver.errors)
    driver.send(signal.SIGTERM)
    assert driver.wait() == TERMINATED, driver.errors
    assert state_of_lease(output) == "released"


def test_before_anything_is_published_a_request_is_heard(drivers: Drivers, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=8), row_group_size=20)
    output = str(tmp_path / "out")
    driver = terminate_at(drivers, lexical_job(path, output), "units.verified:1")
    assert driver.process.exitcode == TERMINATED, driver.errors
    assert "LATEST.json" not in files_below(output)


def hang_up_heard() -> None:
    """A hook: whatever these tests were started by."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def hang_up_ignored() -> None:
    """A hook: started by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_closed_terminal_is_the_same_unless_nohup_was_asked(
    drivers: Drivers, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=16), row_group_size=20)
    job = lexical_job(path, str(tmp_path / "out"))
    hook = f"{__name__}:{hang_up_heard.__name__}"
    driver = terminate_at(drivers, job, "unit.scored:2", signal.SIGHUP, (hook,))
    assert driver.process.exitcode == TERMINATED, driver.errors
    assert "SIGHUP (the terminal was closed)" in driver.errors
    assert state_of_lease(str(tmp_path / "out")) == "released"
    hook = f"{__name__}:{hang_up_ignored.__name__}"
    driver = terminate_at(drivers, job, "unit.scored:1", signal.SIGHUP, (hook,))
    assert driver.process.exitcode == 0, driver.errors


def test_a_lease_that_was_only_just_taken_is_given_back(drivers: Drivers, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=8), row_group_size=20)
    job = lexical_job(path, str(tmp_path / "out"), lease={"ttl_s": 3_600})
    for _ in ("a lease is created", "one that was released is taken"):
        driver = terminate_at(drivers, job, "lease.taken:1")
        assert driver.process.exitcode == TERMINATED, driver.errors
        assert state_of_lease(str(tmp_path / "out")) == "released"
    assert drivers.run(job) == 0


def test_on_ray_the_command_exits_143_and_resumes(tmp_path: Path) -> None:
    table = long_table(queries=600, documents=20)
    path = write(tmp_path / "in.parquet", table, row_group_size=200)
    job = tmp_path / "job.yaml"
    out = tmp_path / "out"
    data = {
        "model": {"name": "lexical"},
        "input": {"path": str(path)},
        "output": {"path": str(out)},
        "units": {"documents": 200},
        "ray": {"mode": "cluster"},
        "report": {"page": False},
    }
    job.write_text(yaml.safe_dump(data))
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    base = Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))  # short, for Ray's sockets
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(base)}
    # As `nohup rerank run &` is started: what Ctrl-C sends is for others.
    running = subprocess.Popen(
        [*command, "run", "-c", str(job)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    running.send_signal(signal.SIGINT)
    wait_for(lambda: list(out.glob("*/ranked/*.parquet")) or running.poll() is not None)
    running.send_signal(signal.SIGINT)
    below = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=240)
    assert running.returncode == TERMINATED, errors
    assert not [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not list(base.iterdir())
    assert state_of_lease(str(out)) == "released"
    done = len(list(out.glob("*/ranked/*.parquet")))
    resumed = subprocess.run(
        [*command, "resume", str(out)], env=environment, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    base.rmdir()  # nothing is left of a Ray that was shut down in order
    [folder] = [place for place in out.iterdir() if place.is_dir()]
    found = json.loads((folder / "report.json").read_text())
    assert found["units_done_before"] == done
    assert found["units_done_before"] + found["units_done_now"] == len(
        list(out.glob("*/ranked/*.parquet"))
    )
