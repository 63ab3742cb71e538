"""A run on disk: every file's place and meaning.

::

    <output.path>/<run id>/
        run.json                     resolved configuration, versions, input identities
        plan.parquet                 the units
        ranked/unit-<unit>.parquet   a unit's rows; whole under its name, it is its commit record
        quarantine/unit-<unit>.parquet
        manifest.json                counts of every unit, written once all are there
        _SUCCESS                     written last; a reader waits for it

Unit files are created, never replaced, so resuming is a listing and a late duplicate changes
nothing.
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

from pipeline.candidates.planning import Plan
from pipeline.errors import NotFoundError
from pipeline.storage.parquet import read_metadata, read_table, to_bytes
from pipeline.storage.store import (
    create_if_absent,
    exists,
    join,
    list_folders,
    list_names,
    read_bytes,
    write_whole,
)

RANKED = "ranked"
QUARANTINE = "quarantine"
SUCCESS = "_SUCCESS"
_PREFIX, _SUFFIX = "unit-", ".parquet"


@dataclass(frozen=True, kw_only=True)
class UnitCounts:
    """What a committed unit holds.

    Attributes:
        unit: its name.
        queries: candidate lists.
        documents: candidates, quarantined ones among them.
        tokens: tokens that went through the model.
        reasons: quarantined candidates by reason code.
        query_hashes: uint64 [queries], to see a query that two units hold.
    """

    unit: str
    queries: int
    documents: int
    tokens: int
    reasons: dict[str, int] = field(default_factory=dict)
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
        return json.dumps(self.summary() | {"query_hashes": hashes})

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

    def quarantine(self, unit: str) -> str:
        """Path of a unit's quarantine file."""
        return join(self.path, QUARANTINE, f"{_PREFIX}{unit}{_SUFFIX}")

    def start(self, plan: Plan, description: dict[str, Any]) -> None:
        """Write ``run.json`` and ``plan.parquet`` where they are not yet."""
        create_if_absent(join(self.path, "plan.parquet"), to_bytes(plan.to_table()))
        text = json.dumps(description, indent=2, ensure_ascii=False)
        create_if_absent(join(self.path, "run.json"), text.encode())

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
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX)
        ]

    def counts(self, units: list[str]) -> list[UnitCounts]:
        """Counts of committed units, from the footers of their files."""

        def read(unit: str) -> UnitCounts:
            return UnitCounts.from_metadata(read_metadata(self.ranked(unit))["counts"])

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(read, units))

    def finished(self) -> bool:
        """Whether the run was published."""
        return exists(join(self.path, SUCCESS))

    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; empty before publication."""
        path = join(self.path, "manifest.json")
        data: dict[str, Any] = json.loads(read_bytes(path)) if exists(path) else {}
        return data

    def publish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, then ``_SUCCESS``."""
        write_whole(join(self.path, "manifest.json"), json.dumps(manifest, indent=2).encode())
        create_if_absent(join(self.path, SUCCESS), b"")


def find_run(path: str) -> RunFolder:
    """The run at ``path``: a run folder itself, or an output folder that holds exactly one.

    Raises:
        NotFoundError: no run there, or several; names them.
    """
    if exists(join(path, "run.json")):
        return RunFolder(path)
    runs = [name for name in list_folders(path) if exists(join(path, name, "run.json"))]
    if len(runs) == 1:
        return RunFolder(join(path, runs[0]))
    if not runs:
        raise NotFoundError(
            f"{path}: no run here; give the folder of a run, <output.path>/<run id>"
        )
    raise NotFoundError(f"{path}: holds {len(runs)} runs; give one of: {', '.join(runs)}")
