"""Drivers of runs as processes of their own, which a test may kill, stop and continue.

They are forked from a server that has imported everything once, so one costs milliseconds instead
of the seconds that torch takes to import.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from pipeline import failpoints
from pipeline.config import JobConfig
from pipeline.errors import RerankError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

ROOT = Path(__file__).resolve().parents[2]

#: Exit code of a driver that an exception of no class of ours ended.
UNEXPECTED = 99

#: How long a test waits for a process before it calls it hung.
PATIENCE_S = 240.0

KILLED = -signal.SIGKILL

#: What nearly every driver would import itself once it runs: half a second of a CPU each.
_PRELOADED = (
    "pipeline.storage.local.disk",
    "pipeline.storage.s3.store",
    "pipeline.rerankers.lexical",
    "pipeline.reports.terminal",
    "pandas",
)


def lexical_job(path: Path | str, folder: str, /, **sections: Any) -> dict[str, Any]:
    """A small job that needs no Ray; units of one or two files, bad rows allowed."""
    return {
        "model": {"name": "lexical"},
        "input": {"path": str(path)},
        "output": {"path": folder, "file_mib": 0.0005},
        "units": {"documents": 25},
        "replicas": {"min": 1, "num_gpus": 0, "num_cpus": 1},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
        "quarantine": {"max_error_rate": 1.0},
        "lease": {"ttl_s": 0.5},
        "storage": {"backoff_s": 0.01},
    } | sections


def families_of_tests(config: JobConfig) -> frozenset[str]:
    """The word of the user's for a family that lies among these tests."""
    family = config.model.family or ""
    return frozenset([family] if family.startswith("tests.") else [])


@dataclass
class Driver:
    """One process that runs a job."""

    process: BaseProcess
    log: Path

    def wait(self) -> int:
        """Its exit code."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, f"hung: {self.errors}"
        return self.process.exitcode

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself at a failpoint."""
        wait_for(lambda: self._state() == "T", f"{self.errors}")

    def _state(self) -> str:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(") ")[2][0]


@dataclass
class Drivers:
    """Starts drivers; those that a test leaves behind are killed."""

    folder: Path
    started: list[Driver] = field(default_factory=list)
    #: Of logs; threads of a test may start drivers at once, and each has a log of its own.
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(
        self,
        job: Mapping[str, Any],
        *,
        at: str = "",
        hooks: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        work: str = f"{__name__}:rank",
    ) -> Driver:
        """A new driver.

        Args:
            job: its configuration, or whatever else ``work`` takes.
            at: failpoints, such as ``unit.written:2=crash``.
            hooks: functions, as ``module:name``, called before the job.
            environment: more variables.
            work: function, as ``module:name``, that does the job.
        """
        log = self.folder / f"driver-{next(self._numbers)}.log"
        variables = {name: v for name, v in os.environ.items() if name.startswith("AWS_")}
        variables |= {failpoints.VARIABLE: at, **(environment or {})}
        given = (work, dict(job), variables, hooks, str(log))
        process = _context().Process(target=_drive, args=given)
        process.start()
        driver = Driver(process, log)
        self.started.append(driver)
        return driver

    def run(self, job: Mapping[str, Any], **how: Any) -> int:
        """Start a driver and wait for it."""
        return self.start(job, **how).wait()

    def close(self) -> None:
        """Kill what still runs."""
        for driver in self.started:
            if driver.process.exitcode is None:
                driver.process.kill()
                driver.process.join()


def wait_for(condition: Callable[[], object], message: str = "") -> None:
    """Look every few milliseconds until it holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, message
        time.sleep(0.01)


def skip_probe() -> None:
    """A hook: believe the store, which another test probes; saves a second a driver."""
    from pipeline.execution import session
    from pipeline.refresh.publications import publishing
    from pipeline.storage.probe import StoreAbilities

    for user in (session, publishing):
        user.probe = lambda _: StoreAbilities(create=True, replace=True, detail="")


def an_hour_fast() -> None:
    """A hook: a wall clock that is wrong."""
    right = time.time
    time.time = lambda: right() + 3600


def an_hour_slow() -> None:
    """A hook: a wall clock that is wrong the other way."""
    right = time.time
    time.time = lambda: right() - 3600


def small_disk() -> None:
    """A hook: no file of this process may grow past 1,500 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))


def broken_protocol() -> None:
    """A hook for the negative control: every write is unconditional, nobody is kept away.

    A unit that is there already is written again under a name of its own, as a writer would that
    makes its names unique by chance, and names that are not of the plan are not looked for.
    """
    from pipeline.execution import run
    from pipeline.execution.runs import lease, unit_files
    from pipeline.storage.store import exists, read_versioned, write_whole

    def put(path: str, data: bytes) -> bool:
        again = f".part-{uuid.uuid4().hex[:4]}.parquet"
        write_whole(path.replace(".parquet", again) if exists(path) else path, data)
        return True

    def create(path: str, data: bytes) -> bool:
        write_whole(path, data)
        return True

    def replace(path: str, data: bytes, version: str) -> str | None:
        write_whole(path, data)
        found = read_versioned(path)
        return None if found is None else found[1]

    unit_files.create_if_absent = put
    lease.create_if_absent = create
    lease.replace_if_unchanged = replace
    lease._silent = lambda *_: True
    run.strange_names = lambda *_, **__: []


def count_failpoints() -> None:
    """A hook: write how often each step was reached to ``$HITS`` when the lease is given back."""
    original = failpoints.reached

    def reached(name: str) -> None:
        original(name)
        Path(os.environ["HITS"]).write_text(json.dumps(failpoints._hits))

    failpoints.reached = reached  # every module calls it through the module


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    # The server looks for what it imports on the path that it is started with.
    os.environ["PYTHONPATH"] = str(ROOT)
    context.set_forkserver_preload([__name__, *_PRELOADED])
    return context


def rank(job: dict[str, Any]) -> None:
    """Work of a driver: a run."""
    config = JobConfig.model_validate(job)
    outcome = execute(prepare(config, allow_code=families_of_tests(config)))
    print("finished before" if outcome.already_finished else "published", file=sys.stderr)


def _drive(
    work: str,
    job: dict[str, Any],
    environment: dict[str, str],
    hooks: tuple[str, ...],
    log: str,
) -> None:
    os.environ.update(environment)
    with Path(log).open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    _log()
    torch.set_num_threads(1)
    code: int = UNEXPECTED
    try:
        for hook in hooks:
            _named(hook)()
        _named(work)(job)
        code = 0
    except RerankError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = int(error.exit_code)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def _log() -> None:
    import logging

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )
