"""What the driver makes of reports: of processes that are late, replaced, silent or ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.execution.live.replicas import Replicas, Totals
from pipeline.execution.units.replica_reports import SILENT_S, ReplicaReport

UP = ReplicaReport(
    replica="r", process="p1", host="a", device="cpu", age_s=10, ready_s=8, documents=30,
    tokens=900, busy_s=7, units={"u": 30},
)  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replicas(clock: Clock) -> Replicas:
    return Replicas(clock)


def total(replicas: Replicas, *ended: str) -> Totals:
    return replicas.total(lambda unit: unit in ended)


def test_a_replica_starts_and_is_up(replicas: Replicas) -> None:
    replicas.wanted = 2
    assert total(replicas).states == {"wanted": 2, "starting": 0, "up": 0}
    assert total(replicas).nodes is None
    replicas.take(ReplicaReport(replica="r", process="p1", host="a"))
    assert total(replicas).states == {"wanted": 2, "starting": 1, "up": 0}
    replicas.take(UP)
    replicas.take(replace(UP, replica="s", process="p2", host="b", device="NVIDIA H200"))
    found = total(replicas)
    assert found.states == {"wanted": 2, "starting": 0, "up": 2}
    assert (found.nodes, found.documents, found.tokens) == (2, 60, 1800)
    assert found.seconds == {"cpu": 10, "NVIDIA H200": 10}
    assert (found.busy_s, found.ready_s) == (14, 16)


def test_a_report_that_was_overtaken_changes_nothing(replicas: Replicas) -> None:
    replicas.take(UP)
    replicas.take(replace(UP, age_s=9, documents=20))
    assert total(replicas).documents == 30


def test_a_process_that_replaces_another_counts_as_a_death_and_scores_its_unit_anew(
    replicas: Replicas,
) -> None:
    replicas.take(UP)
    replicas.take(replace(UP, process="p2", age_s=1, documents=5, units={"u": 5}))
    found = total(replicas)
    assert (found.died, found.documents, found.in_flight) == (1, 35, {"u": 5})
    replicas.take(replace(UP, age_s=11, documents=31, units={"u": 31}))  # its last words, late
    assert total(replicas).in_flight == {"u": 5}
    assert total(replicas).died == 1
    assert sum(total(replicas).states.values()) == 1


def test_deaths_before_the_model_is_loaded_are_counted_until_one_has_loaded_it(
    replicas: Replicas,
) -> None:
    loading = ReplicaReport(replica="r", process="p1", host="a")
    for number in range(4):
        replicas.take(replace(loading, process=f"p{number}"))
    assert replicas.died_loading == 3
    replicas.take(replace(UP, process="p3"))
    assert replicas.died_loading == 0
    replicas.take(replace(loading, process="p4"))
    assert (replicas.died_loading, total(replicas).died) == (0, 4)  # p3 had come further
    replicas.take(replace(loading, process="p5"))
    assert replicas.died_loading == 1


def test_units_are_in_flight_until_they_end(replicas: Replicas) -> None:
    replicas.take(replace(UP, units={"u": 30, "v": 2}))
    assert total(replicas).in_flight == {"u": 30, "v": 2}
    assert total(replicas, "u").in_flight == {"v": 2}
    assert total(replicas).in_flight == {"v": 2}


def test_who_is_silent_or_has_ended_is_up_no_more(replicas: Replicas, clock: Clock) -> None:
    replicas.take(UP)
    clock.now = SILENT_S + 1
    replicas.take(replace(UP, replica="s", process="p2"))
    assert total(replicas).states["up"] == 1
    replicas.take(replace(UP, replica="s", process="p2", ended=True))
    found = total(replicas)
    assert (found.states["up"], found.nodes, found.documents, found.died) == (0, 0, 60, 0)


def test_processes_without_a_name_of_their_replica_are_replicas_of_their_own(
    replicas: Replicas,
) -> None:
    replicas.take(replace(UP, replica=""))
    replicas.take(replace(UP, replica="", process="p2"))
    assert (total(replicas).states["up"], total(replicas).died) == (2, 0)
