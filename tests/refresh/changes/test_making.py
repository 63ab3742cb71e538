"""Changes of published runs: the right ones, the same bytes, and nothing made of damaged runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.gates import GatesConfig
from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.changes import graph
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.in_process import InProcess
from pipeline.refresh.changes.making import Sizes, make_changes
from pipeline.refresh.gates.check import measure
from pipeline.refresh.gates.judgements import Judgements
from tests.makers import long_table
from tests.refresh.changes.oracle import Row, changed_rows
from tests.refresh.changes.runs import job, next_night, rows_of, run_of

#: Several buckets of some rows each.
SMALL = Sizes(rows=40)

Runs = tuple[Path, RunFolder, RunFolder]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("nights")
    table = long_table(queries=30)
    return folder, run_of(folder, table), run_of(folder, next_night(table))


def made(
    root: Path, before: RunFolder | None, after: RunFolder, mode: str = "in_process", **given: Any
) -> Changes:
    config = job(root, long_table(1), mode=mode)
    return make_changes(str(root), before, after, config, **given)


def content(changes: Changes) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(changes.path).iterdir()}


def told(rows: list[Row]) -> list[Row]:
    """Rows with the column that the oracle compares, which these runs do not carry."""
    return [{"lang": None, **row} for row in rows]


def rows(changes: Changes) -> list[Row]:
    found = [row for part in changes.parts for row in part.rows().to_pylist()]
    return sorted(told(found), key=str)


def test_changes_are_those_of_the_rows(nights: Runs, tmp_path: Path) -> None:
    _, before, after = nights
    changes = made(tmp_path, before, after, sizes=SMALL)
    assert len(changes.parts) > 2
    assert rows(changes) == sorted(
        changed_rows(told(rows_of(before)), told(rows_of(after))), key=str
    )
    queries = [row["query_id"] for part in changes.parts for row in part.lists().to_pylist()]
    assert len(queries) == len(set(queries))
    statistics = changes.manifest["statistics"]
    assert statistics["new_queries"] == ["new"]
    assert statistics["gone_queries"] == ["q000"]
    assert changes.manifest["from"]["run_id"] == Path(before.path).name
    # Bucket sizes do not change what is told, but for the last bits of sums.
    assert rows(made(tmp_path / "one", before, after)) == rows(changes)


def test_from_nothing_all_is_new_and_to_itself_nothing_is(nights: Runs, tmp_path: Path) -> None:
    _, before, _ = nights
    changes = made(tmp_path, None, before, sizes=SMALL)
    assert rows(changes) == sorted(changed_rows([], told(rows_of(before))), key=str)
    same = made(tmp_path, before, before, sizes=SMALL)
    assert rows(same) == []
    assert same.manifest["statistics"]["overlap"]["10"]["mean"] == 1.0
    assert same.manifest["statistics"]["scores"]["drift"] == 0.0


def test_ray_makes_the_same_bytes(
    ray_cluster: None, nights: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, after = nights
    alone = made(tmp_path / "alone", before, after, sizes=SMALL)
    monkeypatch.setattr(graph, "_MOST_TASKS", 3)  # fewer than there are files
    assert content(made(tmp_path / "ray", before, after, "cluster", sizes=SMALL)) == content(alone)
    # Rows of judged queries are picked there, too.
    (tmp_path / "qrels.txt").write_text("q003 0 d0 1\nq011 0 d1 1\n")
    gates = GatesConfig(min_ndcg=0.0, qrels=str(tmp_path / "qrels.txt"))
    judgements = Judgements.open(gates)
    found = [
        measure(
            gates, alone, before, after, job(tmp_path, long_table(1), mode=mode),
            judgements=judgements,
        )
        for mode in ("in_process", "cluster")
    ]  # fmt: skip
    assert found[0] == found[1]


def test_what_is_there_is_not_made_again(
    nights: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, after = nights
    changes = made(tmp_path, before, after, sizes=SMALL)
    whole = content(changes)
    folder = Path(changes.path)
    again: list[list[int]] = []
    records = InProcess.records

    def counting(place: InProcess, work: Any, todo: list[int]) -> Any:
        again.append(list(todo))
        return records(place, work, todo)

    monkeypatch.setattr(InProcess, "records", counting)
    made(tmp_path, before, after, sizes=SMALL)
    assert again == []
    for name in ("manifest.json", "rows-00001.parquet", "part-00002.json"):
        (folder / name).unlink()
    (folder / "lists-00000.parquet").write_bytes(b"cut")
    made(tmp_path, before, after, sizes=SMALL)
    assert again == [[0, 1, 2]]
    assert content(changes) == whole
    (folder / "rows-00001.parquet").unlink()
    (folder / "part-00000.json").write_text("damaged")
    made(tmp_path, before, after, sizes=SMALL)
    assert again[1:] == [[0, 1]]
    assert content(changes) == whole


def test_a_damaged_run_is_refused_by_name(nights: Runs, tmp_path: Path) -> None:
    table = long_table(queries=30)
    before, after = run_of(tmp_path, table), run_of(tmp_path, next_night(table))
    file = sorted(Path(before.path, "ranked").iterdir())[1]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedRunError, match=file.name):
        made(tmp_path, before, after)
    assert not list(tmp_path.glob("_changes/*/manifest.json"))
    Path(after.path, "_SUCCESS").unlink()
    with pytest.raises(NotFoundError, match="not published"):
        made(tmp_path, None, after)


def test_ids_of_two_types_meet_as_text(tmp_path: Path) -> None:
    table = long_table(queries=6)
    numbers = [int(query[1:]) for query in table.column("query_id").to_pylist()]
    as_numbers = table.set_column(0, "query_id", pa.array(numbers))
    as_text = table.set_column(0, "query_id", pa.array([str(n) for n in numbers]))
    changes = made(tmp_path, run_of(tmp_path, as_numbers), run_of(tmp_path, as_text))
    assert changes.manifest["columns"]["query_id"] == "string"
    assert changes.manifest["statistics"]["queries"]["common"] == 6
    assert rows(changes) == []


def test_other_carried_columns_are_said(tmp_path: Path) -> None:
    table = long_table(queries=6).append_column("lang", pa.array(["de"] * len(long_table(6))))
    plain = run_of(tmp_path, table)
    carried = run_of(tmp_path, table, write={"columns": ["lang"]})
    changes = made(tmp_path, plain, carried)
    assert changes.manifest["columns"]["only_after"] == ["lang"]
    found = changes.manifest["statistics"]["changes"]
    assert found["rows"] == {"new": 0, "changed": table.num_rows, "gone": 0}
    assert rows(changes)[0]["lang"] == "de"


def test_runs_without_rows_have_changes(tmp_path: Path) -> None:
    table = long_table(queries=4)
    empty = run_of(tmp_path, table.slice(0, 0), input={
        "path": str(tmp_path / "input-0.parquet"), "allow_empty": True,
    })  # fmt: skip
    full = run_of(tmp_path, table)
    gone = made(tmp_path, full, empty).manifest["statistics"]["changes"]["rows"]
    new = made(tmp_path, empty, full).manifest["statistics"]["changes"]["rows"]
    assert gone == {"new": 0, "changed": 0, "gone": table.num_rows}
    assert new == {"new": table.num_rows, "changed": 0, "gone": 0}
