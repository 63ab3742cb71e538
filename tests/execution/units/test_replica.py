"""A replica with two units in it gives what it gives one by one."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.units import rows
from pipeline.execution.units.replica import Replica, units_at_once
from pipeline.execution.units.stages import Job
from pipeline.execution.units.unit_tasks import commit_unit, encode_unit
from tests.execution.families.waiting import Waiting
from tests.makers import long_table, write

GOLDENS = Path(__file__).parents[2] / "goldens"
PATIENCE_S = 120.0


def job_over(folder: Path, model: dict[str, Any], **sections: Any) -> Job:
    """A job as a driver without a lease would hand it to its workers."""
    source = write(folder / "in.parquet", long_table(queries=30), row_group_size=20)
    config = JobConfig.model_validate(
        {
            "model": model,
            "input": {"path": str(source)},
            "output": {"path": str(folder / "out")},
            "units": {"documents": 25},
            "replicas": {"num_gpus": 0},
        }
        | sections
    )
    allowed = frozenset([model["family"]] if "." in model["family"] else [])
    prepared = prepare(config, allow_code=allowed)
    return Job(
        config=prepared.config,
        source=prepared.source,
        units=tuple(prepared.plan.units),
        folder=prepared.folder.path,
        run_id=prepared.plan.run_id,
        fingerprint=prepared.plan.fingerprint,
        model=prepared.model,
        epoch=0,
        allow_code=prepared.allow_code,
    )


def encoded(job: Job) -> list[pa.Table]:
    return [encode_unit(pa.table({"id": [n]}), job=job) for n in range(len(job.units))]


def ranked(job: Job, scored: list[pa.Table], folder: Path) -> dict[str, pa.Table]:
    """What is written of scored units, into a folder of its own."""
    elsewhere = replace(job, folder=str(folder / job.run_id))
    for row in scored:
        assert rows.COUNTS in commit_unit(row, job=elsewhere).column_names
    files = sorted(Path(elsewhere.folder, "ranked").glob("*.parquet"))
    return {path.name: pq.read_table(io.BytesIO(path.read_bytes())) for path in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "family"),
    [("ms-marco-minilm-tiny", "cross_encoder"), ("qwen3-reranker-tiny", "qwen3_reranker")],
)
def test_two_units_at_once_come_out_as_one_by_one(tmp_path: Path, golden: str, family: str) -> None:
    model = {"family": family, "weights": str(GOLDENS / golden)}
    job = job_over(tmp_path, model, engine={"token_budget": 256})
    units = encoded(job)
    assert len(units) >= 4
    one_by_one = Replica(job)
    wanted = [one_by_one(row) for row in units]
    together = Replica(job, slots=2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(together, units))
    assert ranked(job, found, tmp_path / "two") == ranked(job, wanted, tmp_path / "one")
    # Each unit's numbers are its own, and no token is counted for its neighbour.
    counted = ("units", "batches", "sequences", "tokens", "computed_tokens")
    for ours, theirs in zip(found, wanted, strict=True):
        mine, other = (rows.statistics(row)[rows.ENGINE] for row in (ours, theirs))
        assert {name: mine[name] for name in counted} == {name: other[name] for name in counted}
    # What a network has read is not carried on.
    assert all(row.nbytes < unit.nbytes for row, unit in zip(found, units, strict=True))


def test_a_unit_comes_in_while_another_is_computed(tmp_path: Path) -> None:
    job = job_over(tmp_path, {"family": "tests.execution.families.waiting"})
    first, second, *_ = encoded(job)
    replica, marks = Replica(job, slots=2), Path(job.folder, "attempts")
    network = replica.engine.reranker
    assert isinstance(network, Waiting)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(replica, first)]
        assert network.begun.wait(PATIENCE_S)
        calls.append(pool.submit(replica, second))
        while not list(marks.glob(f"{job.units[1].name}.score-1.json")):
            assert not calls[1].done()
        assert not calls[0].done()
        Waiting.until.set()
        for call in calls:
            statistics = rows.statistics(call.result(PATIENCE_S))
            assert statistics[rows.ENGINE]["units"] == 1
    assert network.most == 1, "two units were on the device at one time"


def test_two_units_go_together_where_a_gpu_computes_and_bits_need_not_repeat() -> None:
    def config(num_gpus: float, *, deterministic: bool = False) -> JobConfig:
        return JobConfig.model_validate(
            {
                "model": {"name": "lexical"},
                "input": {"path": "in.parquet"},
                "output": {"path": "out"},
                "replicas": {"num_gpus": num_gpus},
                "engine": {"deterministic": deterministic},
            }
        )

    assert units_at_once(config(0)) == 1
    assert units_at_once(config(1)) == 2
    assert units_at_once(config(0.5)) == 2
    assert units_at_once(config(1, deterministic=True)) == 1
