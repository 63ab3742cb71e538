"""A run that is prepared where there are GPUs, and where there are none any more."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.execution.preparation import Prepared, prepare, prepare_again
from pipeline.execution.replicas.nodes import in_this_process
from pipeline.execution.run import execute
from pipeline.machine import cpus
from tests.makers import long_table, write
from tests.support.driver import Card, Driver, torch_of


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And a torch that can use them, and no Ray that other tests have started."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    Driver([Card(uuid="GPU-1"), Card(uuid="GPU-2")]).install(monkeypatch)
    torch_of("13.0", monkeypatch, tmp_path)


def job(goldens: Path, folder: Path, **sections: Any) -> JobConfig:
    path = write(folder / "in.parquet", long_table(queries=20), row_group_size=20)
    given = {
        "model": {"name": str(goldens / "ms-marco-minilm-tiny")},
        "input": {"path": str(path)},
        "output": {"path": str(folder / "out")},
        "units": {"documents": 20},
        "ray": {"mode": "cluster"},
    }
    return JobConfig.model_validate(given | sections)


def started(prepared: Prepared) -> dict[str, Any]:
    """The settings in ``run.json``, once a driver has written it."""
    prepared.folder.start(prepared.plan, prepared.description())
    described = json.loads(Path(prepared.folder.file("run.json")).read_text(encoding="utf-8"))
    found: dict[str, Any] = described["config"]["replicas"]
    return found


def test_what_files_depend_on_stays_with_a_run_and_counts_do_not(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(job(goldens, tmp_path))
    assert prepared.model.dtype == "bfloat16"
    pool = prepared.config.replicas
    assert (pool.least, pool.most, pool.gpus, pool.cpus) == (2, 2, 1, 1)
    kept = started(prepared)
    assert (kept["num_gpus"], kept["min"], kept["max"], kept["num_cpus"]) == (1, *["auto"] * 3)
    assert prepare(job(goldens, tmp_path, replicas={"max": 7})).plan == prepared.plan

    Driver([Card()]).install(monkeypatch)
    assert prepare_again(prepared.folder).config.replicas.most == 1

    Driver().install(monkeypatch)
    gone = prepare_again(prepared.folder)
    assert gone.plan == prepared.plan
    assert gone.model.dtype == "bfloat16"
    with pytest.raises(ConfigurationError, match=r"^replicas\.num_gpus: .*has no GPU"):
        execute(gone)
    anew = prepare(job(goldens, tmp_path))
    assert anew.model.dtype == "float32"
    assert anew.plan.run_id != prepared.plan.run_id
    assert anew.config.replicas.most * anew.config.replicas.cpus <= cpus()


def test_threads_stay_with_a_run_whose_bits_repeat(goldens: Path, tmp_path: Path) -> None:
    exact = {"engine": {"deterministic": True}, "replicas": {"num_gpus": 0}}
    prepared = prepare(job(goldens, tmp_path, **exact))
    assert started(prepared)["num_cpus"] == 1
    one = exact | {"replicas": {"num_gpus": 0, "num_cpus": 1}}
    assert prepare(job(goldens, tmp_path, **one)).plan == prepared.plan
    two = exact | {"replicas": {"num_gpus": 0, "num_cpus": 2}}
    assert prepare(job(goldens, tmp_path, **two)).plan != prepared.plan


def test_a_cluster_is_asked_for_what_hangs_on_it(goldens: Path, tmp_path: Path) -> None:
    nobody = {"address": "127.0.0.1:1"}
    with pytest.raises(NotFoundError, match=r"no cluster at .*num_gpus is auto"):
        prepare(job(goldens, tmp_path, ray=nobody))
    planned = prepare(job(goldens, tmp_path, ray=nobody, replicas={"num_gpus": 1}))
    assert planned.model.dtype == "bfloat16"
    assert "asked when the run starts" in str(planned.placement)
    every = {"min": 2, "num_gpus": 0, "num_cpus": 1}
    given = prepare(job(goldens, tmp_path, ray=nobody, replicas=every)).config.replicas
    assert (given.least, given.most, given.cpus) == (2, 2, 1)


def test_one_replica_in_this_process(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = in_this_process(job(goldens, tmp_path)).replicas
    assert (beside.most, beside.gpus, beside.cpus) == (1, 1, 1)
    Driver().install(monkeypatch)
    alone = in_this_process(job(goldens, tmp_path)).replicas
    assert (alone.most, alone.gpus, alone.cpus) == (1, 0, cpus())
    given = in_this_process(job(goldens, tmp_path, replicas={"num_cpus": 3, "max": 9})).replicas
    assert (given.most, given.cpus) == (1, 3)
