"""The ``storage`` section of a job is in force where stores are talked to: driver and workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.config import JobConfig, StorageConfig
from pipeline.errors import StorageError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.storage.policy import retry_policy, set_retry_policy
from pipeline.storage.store import join, list_names, write_whole
from tests.makers import long_table
from tests.support.fault_proxy import SLOW_DOWN, FaultProxy, Rule


@pytest.fixture(autouse=True)
def policy_of_the_process() -> Iterator[None]:
    before = retry_policy()
    yield
    set_retry_policy(before)


def test_a_driver_and_its_workers_obey_the_section(fault_proxy: FaultProxy, s3_folder: str) -> None:
    from pipeline.storage.parquet import to_bytes

    write_whole(join(s3_folder, "input", "a.parquet"), to_bytes(long_table()))
    config = JobConfig.model_validate(
        {
            "model": {"name": "lexical"},
            "input": {"path": join(s3_folder, "input")},
            "output": {"path": join(s3_folder, "runs")},
            "ray": {"mode": "in_process"},
            "report": {"page": False},
            "storage": {"attempts": 3, "backoff_s": 0.001},
        }
    )
    fault_proxy.add(Rule(SLOW_DOWN, method="GET"))
    with pytest.raises(StorageError, match=r"in 3 attempts .*503 SlowDown"):
        prepare(config)
    fault_proxy.clear()
    prepared = prepare(config)
    set_retry_policy(StorageConfig())  # as in a worker's process, which did not prepare the job
    outcome = execute(prepared)
    assert retry_policy() == StorageConfig(attempts=3, backoff_s=0.001)
    assert "_SUCCESS" in list_names(outcome.folder)
