"""Where units are worked on when nobody says, and that a worker process is as safe as Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.candidates.planning import Unit
from pipeline.config import JobConfig
from pipeline.execution.placement import (
    LITTLE_S,
    LITTLE_WITHOUT_NETWORK_S,
    looks_small,
    place_of,
)
from pipeline.execution.preparation import prepare
from pipeline.execution.unit_size import UnitSize
from tests.execution.drivers import Drivers, lexical_job
from tests.execution.oracle import files_below, kept, report
from tests.execution.test_bad_queries import check, job_of, with_words
from tests.makers import long_table, write

AUTO = {"mode": "auto"}
UNITS = tuple(Unit(name=f"{n:024x}", start=n, stop=n + 1, documents=10) for n in range(10))


def config(**sections: Any) -> JobConfig:
    given = {"model": {"name": "lexical"}, "input": {"path": "a"}, "output": {"path": "b"}}
    given |= {"replicas": {"num_gpus": 0}}  # which preparing a run settles
    return JobConfig.model_validate(given | sections)


def placed(seconds: float | None, units: int = 10, *, network: bool = True, **sections: Any) -> str:
    size = UnitSize(documents=10, first=10, reason="", seconds=seconds)
    return place_of(config(**sections), size, UNITS[:units], 100, network=network)


@pytest.fixture(autouse=True)
def no_ray_around(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)


def test_little_work_of_one_replica_needs_no_ray() -> None:
    assert placed(LITTLE_S["cpu"]) == "process"
    assert placed(LITTLE_S["cpu"] + 1) == "cluster"
    assert placed(10 * LITTLE_S["cpu"], units=1) == "process"
    assert placed(2 * LITTLE_S["cpu"], units=5) == "process", "half of it is left"
    assert placed(None) == "cluster", "a family whose cost is not known"
    gpu = {"num_gpus": 1}
    assert placed(LITTLE_S["cuda"], replicas=gpu) == "process"
    assert placed(LITTLE_S["cpu"], replicas=gpu) == "cluster"
    assert placed(LITTLE_WITHOUT_NETWORK_S, network=False) == "process"
    assert placed(LITTLE_WITHOUT_NETWORK_S + 1, network=False) == "cluster"


@pytest.mark.parametrize(
    "sections",
    [
        {"ray": {"address": "auto"}},
        {"ray": {"task_labels": {"pool": "cpu"}}},
        {"ray": {"object_store_gib": 1}},
        {"ray": {"metrics_port": 8090}},
        {"replicas": {"max": 2}},
        {"replicas": {"num_gpus": 2}},
        {"replicas": {"labels": {"pool": "gpu"}}},
        {"ray": {"mode": "cluster"}},
    ],
    ids=str,
)
def test_what_only_ray_has_is_done_on_ray(sections: dict[str, Any]) -> None:
    assert placed(1.0, units=1, **sections) == "cluster"


def test_of_an_input_that_is_not_little_few_queries_are(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=16))
    for limit, place in ((None, "cluster"), (4, "process")):
        job = lexical_job(
            path, str(tmp_path / "out"), ray=AUTO, limit=limit, units={"documents": 5}
        )
        prepared = prepare(JobConfig.model_validate(job))
        # Of the whole input, which is a few dozen documents.
        seconds = 3 * LITTLE_WITHOUT_NETWORK_S
        longer = replace(prepared, size=replace(prepared.size, seconds=seconds))
        assert len(longer.plan.units) > 1
        assert longer.placed(longer.plan.units).place == place


def test_a_small_input_is_seen_before_it_is_planned(tmp_path: Path) -> None:
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(2**30)

    def looks(*paths: Path, **sections: Any) -> bool:
        return looks_small(config(input={"path": [str(path) for path in paths]}, **sections))

    assert looks(small)
    assert not looks(small, large)
    assert not looks(small, tmp_path)
    assert not looks(tmp_path / "none.parquet")
    assert not looks(small, ray={"mode": "in_process"})
    assert not looks(small, replicas={"max": 2})


def test_a_job_of_a_cluster_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert placed(1.0, units=1) == "cluster"


def test_what_was_asked_for_is_done() -> None:
    assert placed(1e9, ray={"mode": "in_process"}, replicas={"max": 2}) == "in_process"


def test_a_worker_process_makes_the_same_files_and_outlives_its_deaths(
    drivers: Drivers, tmp_path: Path
) -> None:
    words = {"q003": "abortinforward", "q009": "abortinencode", "q006": "raiseindecode"}
    table = with_words(long_table(queries=16), words)
    path = write(tmp_path / "in.parquet", table)
    one_unit = {"documents": 1_000}
    plain, output = str(tmp_path / "plain"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, plain, units=one_unit)) == 0
    alone = str(tmp_path / "alone")
    assert drivers.run(lexical_job(path, alone, units=one_unit, ray=AUTO)) == 0
    assert kept(files_below(alone)) == kept(files_below(plain))
    found = report(alone)
    assert found["place"] == "process"
    phases = ("planned", "leased", "workers", "replica_ready", "first_commit")
    assert set(found["startup"]) == set(phases)
    driver = drivers.start(job_of("poisonous", path, output, units=one_unit, ray=AUTO))
    assert driver.wait() == 0, driver.errors
    check(output, plain, table, words)
