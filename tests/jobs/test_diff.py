"""`rerank diff`: two run folders, two publications, or the last two."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications.publishing import publish
from tests.makers import long_table
from tests.refresh.changes.runs import next_night, run_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    folder = tmp_path_factory.mktemp("diff")
    table = long_table(queries=12)
    nights = run_of(folder, table), run_of(folder, next_night(table))
    for number, run in enumerate(nights):
        after = number or None
        publish(str(folder / "out"), run, after=after, date=date(2026, 1, 30 + number))
    return nights


def diff(*words: object) -> Result:
    alone = ["--set", "ray.mode=in_process"]
    return CliRunner().invoke(app, ["diff", *map(str, words), *alone], env={"COLUMNS": "120"})


def test_changes_are_shown(runs: tuple[RunFolder, RunFolder]) -> None:
    before, after = (run.path for run in runs)
    done = diff(before, after)
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert any(line.startswith("queries 12 12 1 ") and line.endswith(" 1") for line in lines)
    assert "new queries: new" in lines
    assert "gone queries: q000" in lines
    assert "Rank-biased overlap, p = 0.9" in lines
    assert "Largest moves in the first ten" in lines


def test_publications_are_named_by_number(runs: tuple[RunFolder, RunFolder]) -> None:
    before, after = (run.path for run in runs)
    told = json.loads(diff(before, after, "--json").stdout)
    assert told["from"]["run_id"] == Path(before).name
    assert told["statistics"]["changes"]["lists"]["gone"] == 1
    root = Path(after).parent
    assert json.loads(diff(root, "--json").stdout) == told
    assert json.loads(diff(root, 1, 2, "--json").stdout) == told
    back = json.loads(diff(root, 2, 1, "--json").stdout)
    assert back["statistics"]["new_queries"] == told["statistics"]["gone_queries"]


def test_a_run_that_is_not_published_yet_is_compared_with_what_serves(tmp_path: Path) -> None:
    table = long_table(queries=4)
    serving = run_of(tmp_path, table)
    publish(str(tmp_path / "out"), serving, after=None, date=date(2026, 1, 30))
    assert "no two publications" in diff(tmp_path / "out").output.replace("\n", " ")
    held = run_of(tmp_path, table.slice(0, 3))
    told = json.loads(diff(tmp_path / "out", "--json").stdout)
    runs = [Path(run.path).name for run in (serving, held)]
    assert [told[side]["run_id"] for side in ("from", "to")] == runs


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["{root}", "1", "7"], 4, "no such publication"),
        (["{root}", "1", "last"], 2, "is no number of a publication"),
        (["{root}", "1", "2", "3"], 2, "4 arguments"),
        (["{root}/nothing", "{root}/none"], 4, "no run here"),
        (["{root}/nothing"], 4, "no two publications"),
    ],
)
def test_what_is_not_there_is_said(
    runs: tuple[RunFolder, RunFolder], words: list[str], code: int, match: str
) -> None:
    root = Path(runs[0].path).parent
    done = diff(*(word.format(root=root) for word in words))
    assert done.exit_code == code, done.output
    assert match in done.output.replace("\n", " ")


def renamed(table: pa.Table, name: str, *, keep: int = 0) -> pa.Table:
    """The table with other ids, those of the first rows excepted."""
    place = table.column_names.index(name)
    ids = [
        value if row < keep else value.upper()
        for row, value in enumerate(table.column(name).to_pylist())
    ]
    return table.set_column(place, name, pa.array(ids))


def test_runs_that_name_nothing_alike_are_refused_and_single_ids_told(tmp_path: Path) -> None:
    table = long_table(queries=4)
    plain = run_of(tmp_path, table)
    queries = run_of(tmp_path, renamed(table, "query_id"))
    done = diff(plain.path, queries.path)
    assert done.exit_code == 3
    told = " ".join(done.output.split())
    assert "no query of" in told
    assert "4 ids of queries differ by letter case alone, such as 'q000'" in told
    documents = run_of(tmp_path, renamed(table, "doc_id"))
    done = diff(plain.path, documents.path)
    assert done.exit_code == 3
    assert "ids of documents differ by letter case" in " ".join(done.output.split())
    some = run_of(tmp_path, renamed(table, "doc_id", keep=table.num_rows - 2))
    done = diff(plain.path, some.path)
    assert done.exit_code == 0
    assert "2 ids of documents differ by letter case" in " ".join(done.output.split())
    [told] = json.loads(diff(plain.path, some.path, "--json").stdout)["ids"]
    assert told.startswith("of their first files 2 ids of documents differ")
