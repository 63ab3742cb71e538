"""A run on disk: every file's place and meaning.

::

    <output.path>/LATEST.json        the run that was published last
    <output.path>/<run id>/
        lease.json                   who drives the run (pipeline.execution.lease)
        run.json                     resolved configuration, versions, input identities
        plan.parquet                 the units
        attempts/                    units that workers are at (pipeline.execution.attempts)
        ranked/unit-<unit>.parquet   a unit's rows; whole under its name, it is its commit record
        ranked/unit-<unit>.part-0001.parquet   its first rows, where they are too many for one file
        quarantine/unit-<unit>.parquet
        manifest.json                every file with its sha256, written once all are there
        _SUCCESS                     written last; a reader waits for it
        report.json                  what the last session did; may be replaced

Unit files are created, never replaced by other bytes, so resuming is a listing and a late duplicate
changes nothing. Those under ``ranked`` are sealed (pipeline.outputs.sealed), parts are written
before the file that closes the unit, and a glob over the folder reads them all.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import failpoints
from pipeline.candidates.planning import Plan
from pipeline.errors import InputContractError, NotFoundError
from pipeline.storage.parquet import read_metadata, read_table, to_bytes
from pipeline.storage.store import (
    absolute,
    create_if_absent,
    exists,
    join,
    list_folders,
    list_names,
    read_bytes,
)

RANKED = "ranked"
QUARANTINE = "quarantine"
MANIFEST = "manifest.json"
REPORT = "report.json"
SUCCESS = "_SUCCESS"
LATEST = "LATEST.json"
_PREFIX, _PART, _SUFFIX = "unit-", ".part-", ".parquet"

#: Threads that read small files of a run at once.
_READERS = 16


@dataclass(frozen=True, kw_only=True)
class UnitCounts:
    """What a committed unit holds.

    Attributes:
        unit: its name.
        queries: candidate lists.
        documents: candidates, quarantined ones among them.
        tokens: tokens that went through the model.
        reasons: quarantined candidates by reason code.
        parts: files that stand before the one that closes the unit.
        query_hashes: uint64 [queries], to see a query that two units hold.
    """

    unit: str
    queries: int
    documents: int
    tokens: int
    reasons: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    query_hashes: npt.NDArray[np.uint64] = field(
        default_factory=lambda: np.zeros(0, np.uint64), repr=False
    )

    @property
    def quarantined(self) -> int:
        """Candidates without a score."""
        return sum(self.reasons.values())

    def to_metadata(self) -> str:
        """JSON for the footer of the unit's file."""
        hashes = base64.b64encode(self.query_hashes.astype("<u8").tobytes()).decode()
        return json.dumps(self.summary() | {"parts": self.parts, "query_hashes": hashes})

    def summary(self) -> dict[str, Any]:
        """The counts as plain data, without the hashes."""
        return {
            "unit": self.unit,
            "queries": self.queries,
            "documents": self.documents,
            "tokens": self.tokens,
            "reasons": self.reasons,
        }

    @classmethod
    def from_metadata(cls, text: str) -> UnitCounts:
        """The inverse of :meth:`to_metadata`."""
        data = json.loads(text)
        hashes = np.frombuffer(base64.b64decode(data.pop("query_hashes")), dtype="<u8")
        return cls(**data, query_hashes=hashes.astype(np.uint64))


def total_reasons(units: Iterable[UnitCounts]) -> dict[str, int]:
    """Quarantined candidates of many units by reason code."""
    total: Counter[str] = Counter()
    for unit in units:
        total.update(unit.reasons)
    return dict(sorted(total.items()))


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

    @property
    def latest(self) -> str:
        """Path of the pointer to the run that was published last, beside all runs."""
        return join(self.path.rpartition("/")[0], LATEST)

    def start(self, plan: Plan, description: dict[str, Any]) -> None:
        """Write ``run.json`` and ``plan.parquet`` where they are not yet."""
        create_if_absent(join(self.path, "plan.parquet"), to_bytes(plan.to_table()))
        failpoints.reached("plan.written")
        text = json.dumps(description, indent=2, ensure_ascii=False)
        create_if_absent(join(self.path, "run.json"), text.encode())
        failpoints.reached("run.written")

    def describe(self) -> dict[str, Any]:
        """Content of ``run.json``.

        Raises:
            NotFoundError: this is no run folder.
        """
        path = join(self.path, "run.json")
        if not exists(path):
            raise NotFoundError(
                f"{self.path}: not a run folder (no run.json); give the folder of a run, "
                "<output.path>/<run id>"
            )
        data: dict[str, Any] = json.loads(read_bytes(path))
        return data

    def plan(self) -> Plan:
        """The plan that the run was started with."""
        described = self.describe()
        table = read_table(join(self.path, "plan.parquet"))
        return Plan.from_table(
            table, run_id=described["run_id"], fingerprint=described["fingerprint"]
        )

    def committed(self) -> list[str]:
        """Names of the units whose ranked file is there."""
        names = list_names(join(self.path, RANKED))
        return [
            name[len(_PREFIX) : -len(_SUFFIX)]
            for name in names
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and _PART not in name
        ]

    def counts(self, units: list[str]) -> list[UnitCounts | None]:
        """Counts of committed units, from the footers of their files; None where one is damaged."""

        def read(unit: str) -> UnitCounts | None:
            try:
                return UnitCounts.from_metadata(read_metadata(self.ranked(unit))["counts"])
            except (InputContractError, KeyError, TypeError, ValueError):
                return None  # the unit is scored again, and its file repaired

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(read, units))

    def finished(self) -> bool:
        """Whether the run was published."""
        return exists(join(self.path, SUCCESS))

    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; empty before publication."""
        return self._json(MANIFEST)

    def report(self) -> dict[str, Any]:
        """Content of ``report.json``; empty before the first session has ended."""
        return self._json(REPORT)

    def _json(self, name: str) -> dict[str, Any]:
        path = join(self.path, name)
        data: dict[str, Any] = json.loads(read_bytes(path)) if exists(path) else {}
        return data


def find_run(path: str) -> RunFolder:
    """The run at ``path``: a run folder, or an output folder's only or last published run.

    Raises:
        NotFoundError: no run there, or several of which none was published; names them.
    """
    path = absolute(path).rstrip("/")
    if exists(join(path, "run.json")):
        return RunFolder(path)
    runs = [name for name in list_folders(path) if exists(join(path, name, "run.json"))]
    if len(runs) == 1:
        return RunFolder(join(path, runs[0]))
    if not runs:
        raise NotFoundError(
            f"{path}: no run here; give the folder of a run, <output.path>/<run id>"
        )
    if exists(join(path, LATEST)):
        return RunFolder(join(path, json.loads(read_bytes(join(path, LATEST)))["run_id"]))
    raise NotFoundError(f"{path}: holds {len(runs)} runs; give one of: {', '.join(runs)}")
