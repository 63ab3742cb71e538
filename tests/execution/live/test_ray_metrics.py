"""What Ray's counters are told adds up to what a session did, however often it scores."""

from __future__ import annotations

import pytest
from ray.util.metrics import Counter

from pipeline.execution.live.metrics import Metric
from pipeline.execution.live.ray_metrics import RayMetrics
from pipeline.execution.live.snapshot import Snapshot

LABELS = {"run_id": "r", "model": "m", "epoch": "1"}


def test_a_session_that_scores_twice_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, float] = {}

    def inc(counter: Counter, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        told[counter.info["name"]] = told.get(counter.info["name"], 0.0) + value

    monkeypatch.setattr(Counter, "inc", inc)
    counted: dict[tuple[Metric, str], float] = {}
    first = RayMetrics(LABELS, counted)
    first(Snapshot(documents_scored=4, tokens_scored=40))
    first(Snapshot(documents_scored=7, tokens_scored=70))
    first.end("scored")
    again = RayMetrics(LABELS, counted)  # for units that were found damaged
    again(Snapshot(documents_scored=9, tokens_scored=90))
    again.end("scored")
    assert told == {"rerank_documents": 9, "rerank_tokens": 90, "rerank_sessions_ended": 1}
