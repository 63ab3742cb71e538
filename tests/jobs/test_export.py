"""`rerank export`: one command for runs and for training sets, told apart by what the folder is."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.distillation.sets.test_exports import write_set
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write

TABLE = long_table(queries=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    path = write(root / "in.parquet", TABLE)
    return Path(execute(prepare(JobConfig.model_validate(lexical_job(path, f"{root}/out")))).folder)


def export(*words: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words)])


def evaluated(run: Path, qrels: Path) -> dict[str, float]:
    done = CliRunner().invoke(app, ["evaluate", str(run), "--qrels", str(qrels), "--json"])
    assert done.exit_code == 0, done.output
    means: dict[str, float] = json.loads(done.stdout)["evaluations"][-1]["means"]
    return means


@pytest.mark.parametrize("of", ["run", "output"])
def test_a_run_becomes_one_file(run: Path, tmp_path: Path, of: str) -> None:
    path = tmp_path / "new" / "run.trec"
    done = export(run if of == "run" else run.parent, "--format", "trec", "--output", path)
    assert done.exit_code == 0, done.output
    assert f"export     trec: {TABLE.num_rows} rows" in done.output
    assert str(path) in done.output.replace("\n", "")
    assert len(list(ir_measures.read_trec_run(str(path)))) == TABLE.num_rows
    judged = "".join(f"q{q:03d} 0 d0 1\n" for q in range(8))
    (tmp_path / "qrels").write_text(judged)
    by_file, by_run = (evaluated(one, tmp_path / "qrels") for one in (path, run))
    assert by_file == by_run


def test_it_lies_beside_the_run_unless_told_otherwise(run: Path) -> None:
    done = export(run, "--format", "trec")
    assert done.exit_code == 0, done.output
    assert Path(f"{run}.trec").is_file()
    assert CliRunner().invoke(app, ["status", str(run.parent), "--check"]).exit_code == 0


def test_a_training_set_is_still_exported(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    words = ("--format", "flag_embedding", "--set", "ray.mode=in_process")
    done = export(folder, *words, "--output", tmp_path / "x")
    assert done.exit_code == 2
    assert "--output: an export of a training set has no such option" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "trec", "--to", "x"], "--to: an export of a run has no such option"),
        (["--format", "trec", "--set", "options.a=1"], "--set: an export of a run has no such"),
        (["--format", "flag_embedding"], "--format: unknown format 'flag_embedding'"),
        (["--format", "trec", "--format", "parquet", "--output", "x"], "2 formats were asked for"),
    ],
)
def test_what_a_run_has_not_is_refused(run: Path, words: list[str], message: str) -> None:
    done = export(run, *words)
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ").replace("    ", "")


def test_a_folder_of_neither_is_named(tmp_path: Path) -> None:
    done = export(tmp_path, "--format", "trec")
    assert done.exit_code == 4
    assert "no run and no finished training set here" in done.output.replace("\n", " ")
