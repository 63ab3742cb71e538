"""What every sink keeps, whatever its format: each file of ``pipeline/outputs`` is tried."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError
from pipeline.execution.runs import attempts
from pipeline.execution.runs.run_folder import QUARANTINE, RANKED
from pipeline.outputs import finding
from tests.outputs.makers import ABOUT, LISTS, ranked

Rows = list[tuple[str, str, float | None]]

TABLE = ranked(LISTS, title=["t"] * 7)


def parquet_rows(path: Path) -> Rows:
    table = pq.read_table(path)
    return [(r["query_id"], r["doc_id"], r["score"]) for r in table.to_pylist()]


def trec_rows(path: Path) -> Rows:
    return [(r.query_id, r.doc_id, r.score) for r in ir_measures.read_trec_run(str(path))]


def csv_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = [(r["query_id"].removeprefix("'"), r["doc_id"].removeprefix("'")) for r in rows]
    scores = [float(r["score"]) if r["score"] else None for r in rows]
    return [(*one, score) for one, score in zip(ids, scores, strict=True)]


#: The tool that a format is meant for, and not a reader of ours.
READERS: dict[str, Callable[[Path], Rows]] = {
    "csv": csv_rows,
    "parquet": parquet_rows,
    "trec": trec_rows,
    "trec_encoded": trec_rows,
}


@pytest.mark.parametrize("name", finding.names())
def test_the_tool_it_is_meant_for_reads_what_it_holds(name: str, tmp_path: Path) -> None:
    assert name in READERS, f"{name}: say here which tool reads it"
    sink = finding.find(name)
    held = sink.held(TABLE)
    path = tmp_path / f"unit{sink.suffix}"
    path.write_bytes(sink.file(held, ABOUT))
    wanted = [(r["query_id"], r["doc_id"], r["score"]) for r in held.to_pylist()]
    found = READERS[name](path)
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for (*_, score), (*_, expected) in zip(found, wanted, strict=True):
        assert (score is None) == (expected is None)
        assert score is None or np.float32(score) == np.float32(expected)
    assert (held.num_rows < TABLE.num_rows) == bool(sink.leaves_out)


@pytest.mark.parametrize("name", finding.names())
def test_the_same_rows_give_the_same_bytes(name: str) -> None:
    sink = finding.find(name)
    held = sink.held(TABLE)
    data = sink.write(held, ABOUT)
    assert finding.find(name).write(held, dict(ABOUT)) == data
    middle = held.num_rows // 2
    rejoined = pa.concat_tables([held.slice(0, middle), held.slice(middle)]).combine_chunks()
    assert sink.write(rejoined, ABOUT) == data
    assert sink.held(held).equals(held), "what is held is held"


@pytest.mark.parametrize("name", finding.names())
def test_files_one_after_the_other_are_a_file_where_it_says_so(name: str, tmp_path: Path) -> None:
    sink = finding.find(name)
    if not sink.joinable:
        pytest.skip(f"{name} does not say so")
    held = sink.held(TABLE)
    pieces = [sink.write(held.slice(start, stop), ABOUT) for start, stop in ((0, 2), (2, 9))]
    assert b"".join([sink.heading(held), *pieces]) == sink.file(held, ABOUT)


@pytest.mark.parametrize("name", finding.names())
def test_a_unit_without_rows_has_a_file(name: str, tmp_path: Path) -> None:
    sink = finding.find(name)
    path = tmp_path / f"unit{sink.suffix}"
    path.write_bytes(sink.file(TABLE.slice(0, 0), ABOUT))
    assert READERS[name](path) == []


@pytest.mark.parametrize("name", finding.names())
def test_its_name_and_ending_are_those_of_files_of_a_run(name: str) -> None:
    sink = finding.find(name)
    assert re.fullmatch(r"(\.[a-z0-9]+)+", sink.suffix)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert name not in (RANKED, QUARANTINE, attempts.FOLDER)
    assert sink.version >= 1
    assert sink.__doc__


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"output\.formats: unknown format 'trecs'.*'trec'"
    ):
        finding.find("trecs")
    for name in ("base", "sealed", "../trec", ""):
        with pytest.raises(ConfigurationError, match="unknown format"):
            finding.find(name)


def test_a_file_with_two_sinks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from pipeline.outputs.trec import Trec\nclass A(Trec): ...\nclass B(Trec): ...\n"
    (tmp_path / "twice.py").write_text(code)
    monkeypatch.setattr("pipeline.outputs.__path__", [str(tmp_path)])
    monkeypatch.setattr("pipeline.outputs.__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ConfigurationError, match=r"outputs\.twice.* defines 2 sinks, expected one"):
        finding.find("twice")
