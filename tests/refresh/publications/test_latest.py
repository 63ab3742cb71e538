"""The rows that are current, as readers get them, locally and from an object store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import pipeline
from pipeline.config import JobConfig
from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications.record import path_of
from pipeline.refresh.publications.rolling_back import rollback
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write
from tests.refresh.publications.runs import make_run, publish_next


def test_the_rows_are_those_of_the_run(root: str, runs: list[RunFolder]) -> None:
    for number, folder in enumerate(runs[:2], start=1):
        publish_next(root, folder, number)
        assert pipeline.latest(root).to_table() == read_ranked(folder)
    assert pipeline.latest(Path(root)).schema.metadata is None, "of many units, none is named"
    rollback(root, why="a test")
    assert pipeline.latest(f"{root}/").to_table() == read_ranked(runs[0])


def test_a_reader_is_undisturbed_by_a_publication(root: str, runs: list[RunFolder]) -> None:
    publish_next(root, runs[0], 1)
    batches = pipeline.latest(root).to_batches()
    read = [next(batches)]
    held = pipeline.latest(root)
    publish_next(root, runs[1], 2)
    assert pa.Table.from_batches([*read, *batches]) == read_ranked(runs[0])
    assert held.to_table() == read_ranked(runs[0])


def test_rows_from_an_object_store(s3_folder: str, tmp_path: Path) -> None:
    folder = make_run(s3_folder, tmp_path)
    publish_next(s3_folder, folder, 1)
    found = pipeline.latest(s3_folder)
    assert found.to_table() == read_ranked(folder)
    query = found.head(1)["query_id"]
    assert found.count_rows(filter=pc.field("query_id") == query[0]) > 0


def test_a_run_without_rows_is_a_dataset_without_rows(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table().slice(0, 0))
    job = lexical_job(path, root)
    job["input"]["allow_empty"] = True
    outcome = execute(prepare(JobConfig.model_validate(job)))
    publish_next(root, RunFolder(outcome.folder), 1)
    assert pipeline.latest(root).count_rows() == 0


def test_nothing_published_and_a_damaged_run_are_named(root: str, runs: list[RunFolder]) -> None:
    with pytest.raises(NotFoundError, match="nothing was published here"):
        pipeline.latest(root)
    publish_next(root, runs[0], 1)
    next(Path(runs[0].path, "ranked").iterdir()).unlink()
    with pytest.raises(DamagedRunError, match=r"000000001.json: names run .*missing"):
        pipeline.latest(root)
    Path(path_of(root, 1)).write_bytes(b"")
    with pytest.raises(DamagedRunError, match=r"000000001.json: .*empty"):
        pipeline.latest(root)


def test_neither_torch_nor_ray_nor_clients_of_other_stores_are_needed(
    root: str, runs: list[RunFolder]
) -> None:
    publish_next(root, runs[0], 1)
    program = (
        f"import sys, pipeline; assert pipeline.latest({root!r}).count_rows() > 0\n"
        "heavy = {'torch', 'ray', 'transformers', 's3fs', 'botocore'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
