"""A run on disk: every file's place and meaning.

::

    <output.path>/LATEST.json        the run that was published last
    <output.path>/<run id>/
        lease.json                   who drives the run (pipeline.execution.runs.lease)
        run.json                     resolved configuration, versions, input identities
        plan.parquet                 the units
        attempts/                    units that workers are at (pipeline.execution.runs.attempts)
        ranked/unit-<unit>.parquet   a unit's rows; whole under its name, it is its commit record
        ranked/unit-<unit>.part-0001.parquet   its first rows, where they are too many for one file
        quarantine/unit-<unit>.parquet
        <format>/unit-<unit>.<ending>  its rows in another of output.formats, such as trec
        manifest.json                every file with its sha256, written once all are there
        _SUCCESS                     the manifest's sha256, written last; a reader waits for it
        report.json                  what the last session did; may be replaced
        report.html                  the same as a page for people; may be replaced, and is the one
                                     file that nothing is ever read from, so it has no seal

Unit files are created, never replaced by other bytes, so resuming is a listing and a late duplicate
changes nothing. Parts and other formats are written before the file that closes the unit. Every
file is sealed (pipeline.outputs.sealed) and says which run it is of, so one that is damaged, or was
put in the place of another, is known by itself; other formats are sealed by the file that closes
the unit (pipeline.execution.runs.format_files). Other names are not the run's, see
:mod:`pipeline.execution.runs.listing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import failpoints
from pipeline.candidates.planning import PLAN_SCHEMA, Plan
from pipeline.config.output import PARQUET
from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.format_files import KEY
from pipeline.execution.runs.reading import mapped
from pipeline.execution.runs.run_files import (
    footer_metadata,
    plan_bytes,
    read_sealed,
    replace_damaged,
)
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.files import FILE, Entry
from pipeline.storage.store import (
    create_if_absent,
    join,
    list_entries,
)

__all__ = [
    "LATEST",
    "MANIFEST",
    "PLAN",
    "QUARANTINE",
    "RANKED",
    "REPORT",
    "REPORT_PAGE",
    "RUN",
    "SUCCESS",
    "RunFolder",
    "UnitCounts",
    "folders_of",
]

RUN = "run.json"
PLAN = "plan.parquet"
RANKED = "ranked"
QUARANTINE = "quarantine"
MANIFEST = "manifest.json"
REPORT = "report.json"
REPORT_PAGE = "report.html"
SUCCESS = "_SUCCESS"
LATEST = "LATEST.json"
_PREFIX, _PART, _SUFFIX = "unit-", ".part-", ".parquet"
_NAME = re.compile(r"unit-([0-9a-f]{24})(?:\.part-\d{4,})?\.parquet")

#: Threads that read small files of a run at once.
_READERS = 16


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of one run."""

    path: str

    def ranked(self, unit: str) -> str:
        """Path of a unit's ranked file."""
        return join(self.path, RANKED, f"{_PREFIX}{unit}{_SUFFIX}")

    def part(self, unit: str, number: int) -> str:
        """Path of a file that stands before a unit's ranked file; ``number`` counts from 1."""
        return join(self.path, RANKED, f"{_PREFIX}{unit}{_PART}{number:04d}{_SUFFIX}")

    def files(self, unit: str, parts: int) -> list[str]:
        """Paths of a unit's ranked rows in order, the file that closes it last."""
        return [*(self.part(unit, n) for n in range(1, parts + 1)), self.ranked(unit)]

    def quarantine(self, unit: str) -> str:
        """Path of a unit's quarantine file."""
        return join(self.path, QUARANTINE, f"{_PREFIX}{unit}{_SUFFIX}")

    def key(self, path: str) -> str:
        """A path below the folder as the manifest names it."""
        return path.removeprefix(f"{self.path}/")

    def unit_of(self, key: str) -> str | None:
        """The unit whose file this key is named for; None for other names.

        Args:
            key: ``ranked/unit-….parquet``, or that of a part, a quarantine or another format.
        """
        inside, _, name = key.partition("/")
        if inside in (RANKED, QUARANTINE):
            found = _NAME.fullmatch(name)
            return None if found is None else found[1]
        found = KEY.fullmatch(key)
        return None if found is None else found[2]

    @property
    def latest(self) -> str:
        """Path of the pointer to the run that was published last, beside all runs."""
        return join(self.path.rpartition("/")[0], LATEST)

    def file(self, name: str) -> str:
        """Path of a file that stands beside the folders."""
        return join(self.path, name)

    def start(
        self,
        plan: Plan,
        description: dict[str, Any],
        *,
        repair: bool = False,
        cas: bool = True,
    ) -> None:
        """Write ``plan.parquet`` and ``run.json`` where they are not yet.

        Args:
            plan: of the run.
            description: content of ``run.json``.
            repair: write anew what is there and is not what it should be.
            cas: whether the store can compare and swap.

        Raises:
            DamagedRunError: one of them is there, is damaged or of another run, and stays.
        """

        def same_plan() -> None:
            if self._plan(plan.run_id, plan.fingerprint) != plan:
                raise records.damaged(self.file(PLAN), "it holds other units than this run")

        def settle(name: str, data: bytes, check: Callable[[], object]) -> None:
            if create_if_absent(self.file(name), data):
                return
            try:
                check()
            except DamagedRunError:
                if not repair:
                    raise
                replace_damaged(self.file(name), data, cas=cas)

        settle(PLAN, plan_bytes(plan), same_plan)
        failpoints.reached("plan.written")
        settle(RUN, records.to_bytes(records.Description, description), self.describe)
        failpoints.reached("run.written")

    def describe(self) -> dict[str, Any]:
        """Content of ``run.json``.

        Raises:
            NotFoundError: this is no run folder.
            DamagedRunError: it is damaged or of another run.
        """
        description = records.read(
            self.file(RUN), records.Description, run_id=records.run_id_of(self.path)
        )
        if description is None:
            raise NotFoundError(
                f"{self.path}: not a run folder (no run.json); give the folder of a run, "
                "<output.path>/<run id>"
            )
        return description

    def plan(self, described: Mapping[str, Any] | None = None) -> Plan:
        """The plan that the run was started with.

        Args:
            described: what :meth:`describe` gave; None: it is read.

        Raises:
            NotFoundError: this is no run folder.
            DamagedRunError: ``run.json`` or ``plan.parquet`` is gone, damaged or of another run.
        """
        described = self.describe() if described is None else described
        return self._plan(described["run_id"], described["fingerprint"])

    def _plan(self, run_id: str, fingerprint: str) -> Plan:
        path = self.file(PLAN)
        table = read_sealed(path)
        metadata = table.schema.metadata or {}
        for key, expected in (("run_id", run_id), ("fingerprint", fingerprint)):
            stored = metadata.get(key.encode(), b"").decode()
            if stored != expected:
                raise records.damaged(path, f"its {key} is {stored!r}, not {expected!r}")
        if not table.schema.remove_metadata().equals(PLAN_SCHEMA):
            raise records.damaged(path, "it holds other columns than a plan")
        return Plan.from_table(table, run_id=run_id, fingerprint=fingerprint)

    def committed(self, *, entries: Callable[[str], Sequence[Entry]] = list_entries) -> list[str]:
        """Names of the units whose ranked file is there.

        Args:
            entries: lists a folder.
        """
        names = [e.name for e in entries(join(self.path, RANKED)) if e.kind == FILE]
        return [
            unit
            for name in names
            if (unit := self.unit_of(f"{RANKED}/{name}")) and _PART not in name
        ]

    def counts(self, units: list[str], run_id: str) -> Iterator[UnitCounts | None]:
        """Counts of committed units, from the footers of their files; None where one is damaged.

        A footer holds what a file says about itself twice, so both copies must agree. That the
        rows are whole is not seen here, but by :mod:`pipeline.execution.runs.verification`.
        """

        def read(unit: str) -> UnitCounts | None:
            try:
                metadata = footer_metadata(self.ranked(unit))
                counts = UnitCounts.from_metadata(metadata["counts"])
            except (DamagedRunError, KeyError, ValueError):
                return None
            named = (metadata.get("run_id"), metadata.get("unit"), counts.unit)
            return counts if named == (run_id, unit, unit) else None

        return mapped(read, units, threads=_READERS)

    def finished(self, *, entries: Callable[[str], Sequence[Entry]] = list_entries) -> bool:
        """Whether the run was published.

        Args:
            entries: lists a folder.
        """
        return any(entry.name == SUCCESS for entry in entries(self.path))

    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; empty before publication.

        Raises:
            DamagedRunError: it is damaged or of another run.
        """
        run_id = records.run_id_of(self.path)
        return records.read(self.file(MANIFEST), records.Manifest, run_id=run_id) or {}

    def report(self) -> dict[str, Any]:
        """Content of ``report.json``; empty before the first session has ended.

        Raises:
            DamagedRunError: it is damaged or of another run.
        """
        run_id = records.run_id_of(self.path)
        return records.read(self.file(REPORT), records.Report, run_id=run_id) or {}


def folders_of(formats: Collection[str]) -> list[str]:
    """The folders of a run that hold rows in other formats than Parquet."""
    return [name for name in formats if name != PARQUET]
