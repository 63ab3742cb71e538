"""Whole runs through a store that fails, loses answers, cuts, delays and flips bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.execution.drivers import ROOT, Drivers, lexical_job
from tests.execution.oracle import files_below, kept, problems, report
from tests.makers import long_table, write
from tests.support.fault_proxy import (
    IGNORE_CONDITIONS,
    SLOW_DOWN,
    Action,
    CorruptAnswer,
    CutAnswer,
    CutRequest,
    FaultProxy,
    Hang,
    LoseAnswer,
    Reset,
    Rule,
    Status,
)
from tests.support.s3_server import S3Server

HOOKS = ("tests.execution.drivers:skip_probe",)
#: A store that is silent for two seconds is asked again.
IMPATIENT = {"backoff_s": 0.01, "stall_s": 2.0}

UNIT = r"/ranked/unit-"
OBJECT = r"\.(json|parquet)"

Storm = tuple[list[Rule], set[str]]

#: What happens, and which of the report's counters say so.
STORMS: dict[str, Storm] = {
    "5% of answers are 503": ([Rule(SLOW_DOWN, probability=0.05)], {"retries_throttled"}),
    "30% of answers are 503": ([Rule(SLOW_DOWN, probability=0.3)], {"retries_throttled"}),
    "every answer to a unit's PUT is lost": (
        [Rule(LoseAnswer(), method="PUT", path=UNIT)],
        {"ambiguous_writes_resolved", "retries_connection"},
    ),
    "30% of PUTs land and answer 500": (
        [Rule(LoseAnswer(500), method="PUT", probability=0.3)],
        {"ambiguous_writes_resolved", "retries_server_error"},
    ),
    "40% of PUTs meet another": (
        [Rule(Status(409, "ConditionalRequestConflict"), method="PUT", probability=0.4)],
        {"retries_conflict"},
    ),
    "10% of connections are reset": ([Rule(Reset(), probability=0.1)], {"retries_connection"}),
    "answers and uploads are cut": (
        [
            Rule(CutAnswer(10, reset=True), method="GET", path=OBJECT, probability=0.2),
            Rule(CutRequest(100), method="PUT", path=UNIT, probability=0.3),
        ],
        {"retries_connection"},
    ),
    "bits of answers flip": (
        [Rule(CorruptAnswer(-40), method="GET", path=UNIT, probability=0.3)],
        {"retries_damaged"},
    ),
    "some requests are never answered": (
        [Rule(Hang(committed=True), method="PUT", path=UNIT, nth=(2,))],
        {"retries_stalled", "ambiguous_writes_resolved"},
    ),
}


@pytest.mark.parametrize("storm", STORMS)
def test_the_output_is_exact_in_every_storm(
    drivers: Drivers,
    s3_server: S3Server,
    s3_folder: str,
    fault_proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storm: str,
) -> None:
    rules, counters = STORMS[storm]
    table = long_table(queries=16)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    clean = str(tmp_path / "clean")
    assert drivers.run(lexical_job(path, clean)) == 0
    fault_proxy.add(*rules)
    job = lexical_job(path, s3_folder, lease={"ttl_s": 60}, storage=IMPATIENT)
    driver = drivers.start(job, hooks=HOOKS)
    assert driver.wait() == 0, driver.errors
    assert fault_proxy.hits
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    assert not problems(s3_folder, table, kept(files_below(clean)))
    counted = report(s3_folder)["storage"]
    assert counters <= set(counted), counted


LOST = Rule(LoseAnswer(), method="PUT", path=UNIT)


def lost_and_reported(proxy: FaultProxy, counted: dict[str, int]) -> None:
    lost = len(proxy.hits)
    assert lost > 5
    assert counted["ambiguous_writes_resolved"] == lost
    assert lost <= counted["retries_connection"] < 2 * lost  # a busy store may lose some itself


def test_an_event_is_counted_once(
    drivers: Drivers, s3_folder: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    """In a process that is driver and worker, on the way of a unit and of one that is isolated."""
    table = long_table(queries=16)
    queries = [
        "raiseinforward" if query_id == "q003" else query
        for query_id, query in zip(
            table["query_id"].to_pylist(), table["query"].to_pylist(), strict=True
        )
    ]
    table = table.set_column(1, "query", [queries])
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    fault_proxy.add(LOST)
    family = {"family": "tests.execution.families.poisonous"}
    job = lexical_job(path, s3_folder, lease={"ttl_s": 60}, storage=IMPATIENT, model=family)
    driver = drivers.start(job, hooks=HOOKS)
    assert driver.wait() == 0, driver.errors
    found = report(s3_folder)
    assert found["quarantined"].keys() == {"worker_crashed"}
    lost_and_reported(fault_proxy, found["storage"])


def test_an_event_is_counted_once_on_ray(
    s3_folder: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=16), row_group_size=20)
    fault_proxy.add(LOST)
    job = lexical_job(path, s3_folder, lease={"ttl_s": 60}, storage=IMPATIENT)
    del job["ray"]
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    done = subprocess.run(
        [sys.executable, "-m", "jobs.rerank", "-c", str(file)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lost_and_reported(fault_proxy, report(s3_folder)["storage"])


def driver_through(
    drivers: Drivers, proxy: FaultProxy, action: Action, path: Path, output: str, mode: str
) -> tuple[int, str]:
    proxy.add(Rule(action, method="PUT"))
    job = lexical_job(path, output, lease={"unsafe_store": mode})
    driver = drivers.start(job)
    return driver.wait(), driver.errors


def test_a_store_that_ignores_conditions_is_refused_or_used_by_one_driver_aloud(
    drivers: Drivers,
    s3_server: S3Server,
    s3_folder: str,
    fault_proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = long_table(queries=8)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    code, errors = driver_through(
        drivers, fault_proxy, IGNORE_CONDITIONS, path, s3_folder, "refuse"
    )
    assert code == 2
    assert "two drivers on one run could not be kept apart" in errors
    assert "single_driver" in errors
    code, errors = driver_through(
        drivers, fault_proxy, IGNORE_CONDITIONS, path, s3_folder, "single_driver"
    )
    assert code == 0, errors
    assert "SINGLE-DRIVER MODE" in errors
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    clean = str(tmp_path / "clean")
    assert drivers.run(lexical_job(path, clean)) == 0
    assert not problems(s3_folder, table, kept(files_below(clean)))
    assert report(s3_folder)["single_driver"]


def test_a_refusal_in_the_middle_of_a_run_ends_it_at_once(
    drivers: Drivers, s3_folder: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=16), row_group_size=20)
    denied = Rule(Status(403, "AccessDenied"), method="PUT", path=UNIT)
    fault_proxy.add(denied)
    driver = drivers.start(lexical_job(path, s3_folder), hooks=HOOKS)
    assert driver.wait() == 77, driver.errors
    assert len(fault_proxy.hits) <= 2, "nothing is tried again, but for expired credentials"
