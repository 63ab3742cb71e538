"""Snapshots become values of metrics, for Ray and for a file alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FencedError, QuarantineError, TerminatedError
from pipeline.execution.live.metrics import ALL, COMMON, LAST_PROGRESS, Samples, state_of
from pipeline.execution.live.snapshot import Snapshot

LABELS = {"run_id": "r", "model": "m", "epoch": "1"}
BY_NAME = {metric.series: metric for metric in ALL}


def value(samples: Samples, series: str, own: str = "") -> float | None:
    return samples.values().get(BY_NAME[series], {}).get(own)


def test_names_and_labels_are_ones_that_prometheus_takes() -> None:
    assert len({metric.series for metric in ALL}) == len(ALL)
    for metric in ALL:
        assert re.fullmatch(r"ray_rerank_[a-z_]+", metric.series)
        assert (metric.kind == "counter") == metric.series.endswith("_total")
        assert metric.labels[: len(COMMON)] == COMMON
        assert set(metric.labelled(LABELS, "x")) == set(metric.labels)
        assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)


def test_a_snapshot_is_taken_number_by_number() -> None:
    samples = Samples(LABELS)
    samples.take(
        Snapshot(
            time=5.0, documents_scored=7, tokens_scored=70, units=3, units_done=2, documents=6,
            quarantined={"null_text": 1}, retries={"worker_died": 2}, cost=(1.0, 2.0), nodes=4,
            replicas={"up": 3}, device_busy=0.25, waiting_for="units", lease_renewals=9,
        )
    )  # fmt: skip
    for series, own, expected in (
        ("ray_rerank_documents_total", "", 7),
        ("ray_rerank_tokens_total", "", 70),
        ("ray_rerank_units", "planned", 3),
        ("ray_rerank_units", "done", 2),
        ("ray_rerank_run_documents", "committed", 6),
        ("ray_rerank_quarantined", "null_text", 1),
        ("ray_rerank_retries_total", "worker_died", 2),
        ("ray_rerank_cost", "high", 2),
        ("ray_rerank_nodes", "", 4),
        ("ray_rerank_replicas", "up", 3),
        ("ray_rerank_device_busy_ratio", "", 0.25),
        ("ray_rerank_waiting", "units", 1),
        ("ray_rerank_lease_renewals_total", "", 9),
        ("ray_rerank_last_progress_timestamp_seconds", "", 5),
        ("ray_rerank_seconds_left", "", None),
        ("ray_rerank_sessions_ended_total", "published", None),
    ):
        assert value(samples, series, own) == expected, (series, own)


def test_what_is_no_longer_so_is_0_and_what_is_not_known_is_not_there() -> None:
    samples = Samples(LABELS)
    samples.take(Snapshot(waiting_for="model", device_busy=0.5, replicas={"up": 1}))
    samples.take(Snapshot(waiting_for="units", replicas={}))
    assert value(samples, "ray_rerank_waiting", "model") == 0
    assert value(samples, "ray_rerank_waiting", "units") == 1
    assert value(samples, "ray_rerank_replicas", "up") == 0
    assert value(samples, "ray_rerank_device_busy_ratio") is None
    assert value(samples, "ray_rerank_cost", "low") is None


def test_progress_is_a_document_a_unit_or_another_phase_and_nothing_else() -> None:
    samples = Samples(LABELS)
    steps = [
        (Snapshot(time=1, waiting_for="lease"), 1),
        (Snapshot(time=2, waiting_for="lease", lease_renewals=1, replica_seconds=5), 1),
        (Snapshot(time=3, waiting_for="units"), 3),
        (Snapshot(time=4, waiting_for="units", documents_scored=1), 4),
        (Snapshot(time=5, waiting_for="units", documents_scored=1), 4),
        (Snapshot(time=6, waiting_for="units", documents_scored=1, units_done=1), 6),
        (Snapshot(time=7, waiting_for="units", documents_scored=1, units_done=1, left_s=0), 6),
    ]
    for snapshot, expected in steps:
        samples.take(snapshot)
        assert samples.values()[LAST_PROGRESS] == {"": expected}


@given(st.lists(st.sampled_from(["lease", "model", "units", "done"]), min_size=1))
def test_one_thing_is_waited_for_at_a_time(phases: list[str]) -> None:
    samples = Samples(LABELS)
    for phase in phases:
        samples.take(Snapshot(waiting_for=phase))
    waiting = samples.values()[BY_NAME["ray_rerank_waiting"]]
    assert {phase for phase, one in waiting.items() if one} == {phases[-1]}
    assert set(waiting) == set(phases)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (FencedError("x"), "fenced"),
        (TerminatedError("x"), "terminated"),
        (KeyboardInterrupt(), "interrupted"),
        (QuarantineError("x"), "failed"),
        (KeyError("x"), "failed"),
    ],
)
def test_how_a_session_ended(error: BaseException, state: str) -> None:
    assert state_of(error) == state
