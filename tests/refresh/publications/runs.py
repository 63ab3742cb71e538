"""Output folders with real runs in them, and what a process of its own does to one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications import publishing
from pipeline.refresh.publications.publishing import publish
from pipeline.refresh.publications.reading import current
from pipeline.refresh.publications.record import Publication
from pipeline.refresh.publications.retention import retire
from pipeline.refresh.publications.rolling_back import rollback
from pipeline.storage.probe import StoreAbilities
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write

FIRST_NIGHT = date(2026, 11, 1)

#: The module that a process of its own finds its work in.
HERE = __name__


def night(number: int) -> date:
    """The date of a night; the first has number 1."""
    return FIRST_NIGHT + timedelta(days=number - 1)


def make_run(root: str, inputs: Path, seed: int = 0, **sections: Any) -> RunFolder:
    """A finished run of a few queries; another seed is another run."""
    path = write(inputs / f"in-{seed}.parquet", long_table(queries=4, seed=seed))
    job = lexical_job(path, root, **sections)
    return RunFolder(execute(prepare(JobConfig.model_validate(job))).folder)


def publish_next(root: str, folder: RunFolder, number: int, **others: Any) -> Publication:
    """Publish a run on the current publication."""
    now = current(root)
    after = None if now is None else now.sequence
    return publish(root, folder, after=after, date=night(number), **others)


def believe_the_store() -> None:
    """A hook: the store is probed by other tests."""
    publishing.probe = lambda _: StoreAbilities(create=True, replace=True, detail="")


def publish_one(job: dict[str, Any]) -> None:
    """Work of a process: publish the run ``run`` of ``root``."""
    folder = RunFolder(f"{job['root']}/{job['run']}")
    publish(job["root"], folder, after=job["after"], date=night(job["night"]))


def roll_back(job: dict[str, Any]) -> None:
    """Work of a process: go back to the publication ``to``."""
    rollback(job["root"], to=job["to"], why="a test")


def retire_all_but_one(job: dict[str, Any]) -> None:
    """Work of a process: keep the last publication alone."""
    now = datetime.now(UTC) + timedelta(days=2)
    retire(job["root"], keep_last=1, keep_days=None, now=now, delete=True)
