"""Nights one after the other over a collection, in this process or in one that may be killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import RefreshConfig
from pipeline.config.gates import GATES
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.refresh.asked import Night, Refreshed
from pipeline.refresh.night import refresh
from tests.execution.drivers import families_of_tests
from tests.refresh.collections import Collection

FIRST = date(2026, 1, 30)
FAMILY = "tests.refresh.families.counted"

#: Gates that every night passes, for tests of something else.
OPEN = {name: None for name in GATES}

#: What a refresh adds to the rows of a run.
MORE = ("content_key", "scored_at")


@dataclass
class Season:
    """One output folder, and the nights that fill it.

    Attributes:
        folder: for the inputs of all nights and for what becomes of them.
        model: the section of the job.
        section: ``refresh`` of the job; its gates are off unless a test sets them.
    """

    folder: Path
    model: Mapping[str, Any] = field(default_factory=dict)
    section: dict[str, Any] = field(default_factory=lambda: {"gates": dict(OPEN)})

    @property
    def root(self) -> str:
        """Where publications are."""
        return str(self.folder / "out")

    @property
    def log(self) -> Path:
        """What the counted family was shown."""
        return self.folder / "shown.jsonl"

    def job(self, **sections: Any) -> dict[str, Any]:
        """The configuration of every night, as plain data."""
        counted = {"family": FAMILY, "settings": {"log": str(self.log)}}
        return {
            "model": dict(self.model) or counted,
            "input": {"path": str(self.folder / "{date}.parquet")},
            "output": {"path": self.root, "columns": ["title"]},
            "units": {"documents": 60},
            "ray": {"mode": "in_process"},
            "report": {"page": False},
            "lease": {"ttl_s": 0.5},
            "refresh": self.section,
        } | sections

    def given(self, collection: Collection, number: int) -> date:
        """The input of a night is there; returns its date."""
        night = FIRST + timedelta(days=number)
        collection.write(self.folder / f"{night}.parquet")
        return night

    def night(
        self, collection: Collection, number: int, *, sections: Any = None, **asked: Any
    ) -> Refreshed:
        """One whole night over a collection; ``number`` counts nights from 0."""
        config = RefreshConfig.model_validate(self.job(**(sections or {})))
        night = self.given(collection, number)
        consent = families_of_tests(config)
        return refresh(Night(config=config, date=night, allow_code=consent, **asked))

    def full(self, collection: Collection, number: int) -> pa.Table:
        """The rows of an ordinary run over the same input, elsewhere."""
        night = self.given(collection, number)
        output = self.folder / f"full-{night}"
        described = self.job(output={"path": str(output), "columns": ["title"]})
        if not self.model:  # what is counted is of the nights alone
            described["model"]["settings"]["log"] += "-of-full-runs"
        config = RefreshConfig.model_validate(described).job(night)
        return rows(execute(prepare(config, allow_code=families_of_tests(config))).folder)

    def shown(self) -> list[tuple[str, str]]:
        """What the model was shown since this was asked last."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines()
        self.log.unlink()
        return [(query, text) for query, text in map(json.loads, lines)]


def rows(folder: str) -> pa.Table:
    """Every ranked row of a run, without what only a refresh writes, by query and rank."""
    table = pq.ParquetDataset(f"{folder}/ranked").read()
    kept = [name for name in table.column_names if name not in MORE]
    order = [("query_id", "ascending"), ("rank", "ascending")]
    return table.select(kept).sort_by(order).replace_schema_metadata()


def work(job: dict[str, Any]) -> None:
    """Work of a driver: a night; the job is ``{"config": …, "date": …}``."""
    config = RefreshConfig.model_validate(job["config"])
    consent = families_of_tests(config)
    refresh(Night(config=config, date=date.fromisoformat(job["date"]), allow_code=consent))
