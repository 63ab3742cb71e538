"""How many replicas a forecast counts with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import JobConfig
from pipeline.forecast import forecast


def test_this_machines_cpus_bound_replicas_here_and_not_on_a_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "cpus", lambda: 4)
    given = {"model": {"name": "lexical"}, "input": {"path": "a"}, "output": {"path": "b"}}
    replicas = {"min": 8, "num_cpus": 2, "num_gpus": 0}
    job = JobConfig.model_validate(given | {"replicas": replicas})
    subject: Any = SimpleNamespace(config=job, cluster=False)
    assert forecast._on_cpus(subject) == 2
    subject.cluster = True
    assert forecast._on_cpus(subject) == 8
