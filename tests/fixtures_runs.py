from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import JobConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.storage.probe import StoreAbilities
from tests.execution.drivers import Drivers, families_of_tests

Rerank = Callable[..., Outcome]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One real local Ray for every test of the session; a run joins it instead of starting one.

    Not one for each file: a process that has begun and ended several may die of the last one's end.

    It is told of a GPU, so that replicas of families that compute on the CPU wherever they stand
    can be run as replicas with a GPU are: with two units in each.

    Ray keeps as many idle workers as there are CPUs and ends all others after a second, and a
    worker takes two seconds of a CPU to start. So tasks take a whole CPU in these tests
    (``ray.read_cpus``): the next test finds the workers of the last.
    """
    import logging

    import ray

    ray.init(
        num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False,
        logging_level=logging.ERROR, object_store_memory=512 * 2**20,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture
def rerank(ray_cluster: None, tmp_path: Path) -> Rerank:
    """Runs a job over ``path`` on Ray, with the lexical family unless told otherwise."""
    return partial(_rerank, tmp_path, {"read_cpus": 1})


@pytest.fixture
def rerank_in_process(tmp_path: Path) -> Rerank:
    """The same without Ray: for what a unit comes to, which is the same wherever it is worked on.

    A run on Ray starts a worker with torch in it for every replica, which takes seconds.
    """
    return partial(_rerank, tmp_path, {"mode": "in_process"})


def _rerank(
    folder: Path, ray: dict[str, Any], path: Any, /, *, output: str = "runs", **sections: Any
) -> Outcome:
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    config: dict[str, Any] = {
        "model": {"name": "lexical"},
        "input": {"path": paths, **sections.pop("input", {})},
        "output": {"path": str(folder / output), **sections.pop("write", {})},
        "replicas": {"min": 1, "num_gpus": 0, "num_cpus": 0.5},
        "ray": ray,
        "report": {"page": False},
    }
    job = JobConfig.model_validate(config | sections)
    return execute(prepare(job, allow_code=families_of_tests(job)))


def ranked(outcome: Outcome) -> pa.Table:
    """Every ranked row of a run, sorted by query and rank."""
    table = pq.ParquetDataset(f"{outcome.folder}/ranked").read()
    return table.sort_by([("query_id", "ascending"), ("rank", "ascending")])


@pytest.fixture
def believed_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is probed by tests of its own; in this one it would cost a second a session."""
    abilities = StoreAbilities(create=True, replace=True, detail="")
    for user in ("pipeline.execution.session", "pipeline.refresh.publications.publishing"):
        monkeypatch.setattr(f"{user}.probe", lambda _: abilities)


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Drivers]:
    """Starts drivers in processes of their own."""
    started = Drivers(tmp_path)
    yield started
    started.close()
