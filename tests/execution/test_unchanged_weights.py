"""Weights that are swapped at any step of a run: no file is published that others have scored."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError, ModelError
from pipeline.execution.preparation import Prepared, prepare, prepare_again
from pipeline.execution.run import execute
from pipeline.execution.units import rows, stages
from pipeline.execution.units.replica import Replica
from pipeline.execution.units.stages import Job, _cached_reranker
from pipeline.storage import store
from tests.execution.drivers import lexical_job
from tests.execution.oracle import files_below, published
from tests.fixtures_runs import Rerank
from tests.makers import long_table, overflowing, write

TABLE = long_table(queries=6)
GOLDEN, FAMILY = "bge-reranker-tiny", "cross_encoder"
FILES = ("model.safetensors", "tokenizer.json", "config.json")
STEPS = (
    "lease.taken:1", "plan.written:1", "run.written:1", "unit.begun:1", "unit.encoded:1",
    "unit.scored:1", "unit.begun:4", "unit.written:1", "units.verified:1",
)  # fmt: skip

Scores = dict[tuple[str, str], float]
Act = Callable[[], None]
At = Callable[[str, Act], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", TABLE, row_group_size=10)


@pytest.fixture
def model(goldens: Path, tmp_path: Path) -> Path:
    return shutil.copytree(goldens / GOLDEN, tmp_path / "model")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Have something done when this process reaches a step for the n-th time."""
    original = failpoints.reached

    def act_at(step: str, act: Act) -> None:
        _cached_reranker.cache_clear()  # as in a new process
        name, _, hit = step.partition(":")
        hits: list[str] = []

        def reached(reached_name: str) -> None:
            original(reached_name)
            hits.append(reached_name)
            if reached_name == name and hits.count(name) == int(hit):
                act()

        monkeypatch.setattr(failpoints, "reached", reached)

    return act_at


def job_of(path: Path, output: str, weights: object, **sections: Any) -> JobConfig:
    model = {"family": FAMILY, "weights": str(weights)}
    job = lexical_job(path, output, model=model, units={"documents": 10}, **sections)
    return JobConfig.model_validate(job)


def job_for_worker(prepared: Prepared) -> Job:
    return Job(
        config=prepared.config, source=prepared.source, units=prepared.plan.units,
        folder=prepared.folder.path, run_id=prepared.plan.run_id,
        fingerprint=prepared.plan.fingerprint, model=prepared.model, epoch=0,
    )  # fmt: skip


def scores_below(output: str) -> tuple[Scores, set[str]]:
    """Every score below an output folder, committed or published, and the digests beside them."""
    scores: Scores = {}
    digests = set()
    for name, data in files_below(output).items():
        if "/ranked/" in name:
            table = pq.read_table(io.BytesIO(data))
            digests.add(table.schema.metadata[b"weights_sha256"].decode())
            rows = table.select(["query_id", "doc_id", "score"]).to_pylist()
            scores |= {(row["query_id"], row["doc_id"]): row["score"] for row in rows}
    return scores, digests


def other(data: bytes, file: str) -> bytes:
    """Content that is as valid, and gives other scores."""
    if file == "model.safetensors":
        from safetensors.torch import load, save

        return save({name: tensor * 1.01 for name, tensor in load(data).items()})
    parsed = json.loads(data)
    if file == "config.json":
        return json.dumps(parsed | {"layer_norm_eps": 0.1}).encode()
    parsed["normalizer"] = {"type": "Prepend", "prepend": "data"}
    return json.dumps(parsed).encode()


@pytest.fixture
def reference(path: Path, goldens: Path, tmp_path: Path) -> tuple[Scores, set[str]]:
    """Of a run that nothing happens to."""
    output = str(tmp_path / "reference")
    execute(prepare(job_of(path, output, goldens / GOLDEN)))
    scores, digests = scores_below(output)
    assert len(scores) == TABLE.num_rows
    assert len(digests) == 1
    return scores, digests


@pytest.mark.parametrize("file", FILES)
def test_a_swap_at_any_step_publishes_nothing_that_others_scored(
    at: At,
    path: Path,
    model: Path,
    tmp_path: Path,
    reference: tuple[Scores, set[str]],
    file: str,
) -> None:
    whole, ends = (model / file).read_bytes(), {}
    for step in STEPS:
        output = str(tmp_path / step)
        (model / file).write_bytes(whole)
        at(step, lambda: (model / file).write_bytes(other(whole, file)) and None)
        try:
            execute(prepare(job_of(path, output, model)))
            ends[step] = "published"
        except ModelError as error:
            assert f"{model / file}: not the file that the run was planned with" in str(error)
            ends[step] = "refused"
        scores, digests = scores_below(output)
        assert scores.items() <= reference[0].items(), (step, "a committed score of other weights")
        assert digests <= reference[1]
        assert (published(output) is not None) == (ends[step] == "published")
    # In one process all is loaded when the first unit begins, and what is loaded stays loaded.
    assert [ends[step] for step in STEPS] == ["refused"] * 3 + ["published"] * (len(STEPS) - 3)


@pytest.mark.parametrize("how", ["plain", "file"])
def test_a_swap_is_another_run_and_a_swap_back_the_same(
    path: Path, model: Path, tmp_path: Path, how: str, reference: tuple[Scores, set[str]]
) -> None:
    weights = f"file://{model}" if how == "file" else str(model)
    output = str(tmp_path / "out")
    first = execute(prepare(job_of(path, output, weights)))
    whole = (model / FILES[0]).read_bytes()
    (model / FILES[0]).write_bytes(other(whole, FILES[0]))
    second = execute(prepare(job_of(path, output, weights)))
    assert second.folder != first.folder
    assert not second.already_finished
    (model / FILES[0]).write_bytes(whole)
    assert execute(prepare(job_of(path, output, weights))).already_finished
    described = json.loads(Path(first.folder, "run.json").read_text())["model"]
    assert set(FILES) <= described["files"].keys()
    assert {described["digest"]} == reference[1]


def test_resume_refuses_other_weights_and_names_the_file(
    at: At, path: Path, model: Path, tmp_path: Path
) -> None:
    def fail() -> None:
        raise failpoints.FailpointError

    at("unit.written:2", fail)
    prepared = prepare(job_of(path, str(tmp_path / "out"), model))
    with pytest.raises(failpoints.FailpointError):
        execute(prepared)
    whole = (model / "tokenizer.json").read_bytes()
    (model / "tokenizer.json").write_bytes(other(whole, "tokenizer.json"))
    with pytest.raises(ConfigurationError, match=r"model\.digest, model\.files \(tokenizer\.json"):
        prepare_again(prepared.folder)
    (model / "tokenizer.json").write_bytes(whole)
    assert prepare_again(prepared.folder).plan == prepared.plan


def test_a_replica_that_starts_again_after_a_swap_is_refused(
    path: Path, model: Path, tmp_path: Path
) -> None:
    prepared = prepare(job_of(path, str(tmp_path / "out"), model))
    job = job_for_worker(prepared)
    first = Replica(job)
    assert first.failure is None
    whole = (model / FILES[0]).read_bytes()
    (model / FILES[0]).write_bytes(other(whole, FILES[0]))
    again = Replica(job)
    assert isinstance(again.failure, ModelError)
    with pytest.raises(ModelError, match=r"model\.safetensors: not the file"):
        again.score(pa.table({"id": [0]}))


def test_what_is_scored_again_in_float32_is_scored_with_the_planned_weights(
    path: Path, goldens: Path, tmp_path: Path
) -> None:
    model = overflowing(goldens / GOLDEN, tmp_path / "model", word="ranks")
    half = job_for_worker(
        prepare(job_of(path, str(tmp_path / "half"), model, engine={"dtype": "float16"}))
    )
    replica, encoded = Replica(half), stages.encode(stages.read(0, half), half)
    assert replica.failure is None
    whole = (model / FILES[0]).read_bytes()
    (model / FILES[0]).write_bytes(other(whole, FILES[0]))
    with pytest.raises(ModelError, match=r"model\.safetensors: not the file"):
        replica.score(encoded)
    (model / FILES[0]).write_bytes(whole)
    scored = replica.score(encoded)
    assert 0 < rows.statistics(scored)[rows.UNIT_EVENTS]["rescored"] < 10
    assert np.isfinite(stages._readouts(scored).values).all()


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_process_that_encodes_after_a_swap_is_refused(
    path: Path, model: Path, tmp_path: Path, file: str
) -> None:
    prepared = prepare(job_of(path, str(tmp_path / "out"), model))
    job = job_for_worker(prepared)
    read = stages.read(0, job)
    (model / FILES[0]).write_bytes(b"of no concern to a process that loads no network")
    encoded = stages.encode(read, job)
    (model / file).write_bytes((model / file).read_bytes() + b" ")
    assert stages.encode(read, job).equals(encoded), "this process has it already"
    _cached_reranker.cache_clear()
    with pytest.raises(ModelError, match=rf"{file}: not the file that the run was planned with"):
        stages.encode(read, job)


def test_an_expected_sha256_is_compared(path: Path, model: Path, tmp_path: Path) -> None:
    files = prepare(job_of(path, str(tmp_path / "out"), model)).model.files
    job = job_of(path, str(tmp_path / "out"), model)
    right = job.model.model_copy(update={"sha256": files["model.safetensors"].upper()})
    assert prepare(job.model_copy(update={"model": right})).model.files == files
    wrong = job.model.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"model\.safetensors: sha256 is [0-9a-f]{64}, expected 0"):
        prepare(job.model_copy(update={"model": wrong}))


@pytest.mark.parametrize("cached", [True, False])
def test_weights_in_a_store(
    at: At,
    path: Path,
    goldens: Path,
    tmp_path: Path,
    s3_folder: str,
    reference: tuple[Scores, set[str]],
    cached: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine with a copy scores with the planned weights; one without may not have others."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("RERANK_CACHE", str(cache))
    weights, output = f"{s3_folder}/model", str(tmp_path / "out")
    for file in (goldens / GOLDEN).iterdir():
        store.write_whole(f"{weights}/{file.name}", file.read_bytes())
    whole = (goldens / GOLDEN / FILES[0]).read_bytes()

    def swap() -> None:
        store.write_whole(f"{weights}/{FILES[0]}", other(whole, FILES[0]))
        if not cached:
            shutil.rmtree(cache)

    at("run.written:1", swap)
    prepared = prepare(job_of(path, output, weights))
    if cached:
        execute(prepared)
        assert scores_below(output) == reference
    else:
        with pytest.raises(ModelError, match=rf"{weights}/model\.safetensors: not the file that"):
            execute(prepared)
        assert scores_below(output)[0] == {}
        assert published(output) is None
    new = prepare(job_of(path, output, weights))
    assert new.plan.run_id != prepared.plan.run_id
    assert execute(new).already_finished is False
    assert published(output) == new.plan.run_id


def test_on_ray_a_swap_before_the_replicas_start_stops_the_run(
    at: At, rerank: Rerank, path: Path, model: Path, tmp_path: Path
) -> None:
    whole = (model / FILES[0]).read_bytes()
    at("run.written:1", lambda: (model / FILES[0]).write_bytes(other(whole, FILES[0])) and None)
    section = {"family": FAMILY, "weights": str(model)}
    with pytest.raises(ModelError, match=r"model\.safetensors: not the file that the run was"):
        rerank(path, model=section, units={"documents": 10})
    assert scores_below(str(tmp_path / "runs"))[0] == {}
    assert published(str(tmp_path / "runs")) is None
