"""Ids come out as they went in, through a run and through every format that can hold them."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_export import export_run
from pipeline.execution.runs.run_folder import RunFolder
from tests.execution.drivers import lexical_job
from tests.fixtures_runs import ranked

#: Ids that something on the way could take for each other, for a number, a path or a command.
TEXTS = [
    unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"),
    "A", "a", "\u017f", "s", "\ufb01", "fi", "007", "7", "7.0", "1e3", "None", "NaN", "null",
    "", " ", "a b", " a", "a ", "\u00a0", "\u200b", "\ufeffa", "\u202eabc", "a\nb", "a\r\nb", "\t",
    "\x01", "\x1b[31m", "\x7f", "=cmd()", "+1", "-1", "@x", "'quoted", '"', "a,b", "a;b", "%41",
    "%", "../../x", "/etc/passwd", "C:\\x", "a/b", "s3://b/k", "q" * 1024, "<b>", "{}", "$HOME",
    "😀",
]  # fmt: skip

NUMBERS = [0, 7, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]


def candidates(ids: list[object], kind: pa.DataType, layout: str = "long") -> pa.Table:
    """Every id as a query whose documents are itself and the next one."""
    following = [*ids[1:], ids[0]]
    if layout == "long":
        return pa.table(
            {
                "query_id": pa.array([one for one in ids for _ in range(2)], kind),
                "query": ["find words"] * (2 * len(ids)),
                "doc_id": pa.array([d for p in zip(ids, following, strict=True) for d in p], kind),
                "text": ["words", "words found"] * len(ids),
            }
        )
    lists = [
        [{"doc_id": one, "text": "words"}, {"doc_id": other, "text": "words found"}]
        for one, other in zip(ids, following, strict=True)
    ]
    item = pa.struct([("doc_id", kind), ("text", pa.string())])
    return pa.table(
        {
            "query_id": pa.array(ids, kind),
            "query": ["find words"] * len(ids),
            "candidates": pa.array(lists, pa.list_(item)),
        }
    )


def run(tmp_path: Path, table: pa.Table, *formats: str) -> Outcome:
    path = tmp_path / "in.parquet"
    pq.write_table(table, path)
    job = lexical_job(path, str(tmp_path / "out"))
    job["output"] = {**job["output"], "formats": list(formats)}  # type: ignore[dict-item]
    return execute(prepare(JobConfig.model_validate(job)))


def pairs(table: pa.Table) -> set[tuple[object, object]]:
    return set(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))


def csv_pairs(path: Path) -> set[tuple[object, object]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["query_id"].removeprefix("'"), row["doc_id"].removeprefix("'"))
            for row in csv.DictReader(file)
        }


def trec_pairs(path: Path) -> set[tuple[object, object]]:
    lines = [line.split(" ") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert all(len(fields) == 6 for fields in lines)
    return {(unquote(fields[0]), unquote(fields[2])) for fields in lines}


@pytest.mark.parametrize("layout", ["long", "nested"])
@pytest.mark.parametrize(
    ("ids", "kind"),
    [(TEXTS, pa.string()), (NUMBERS, pa.uint64()), ([n for n in NUMBERS if n < 2**63], pa.int64())],
    ids=["text", "uint64", "int64"],
)
def test_ids_are_those_of_the_input(
    tmp_path: Path, layout: str, ids: list[object], kind: pa.DataType
) -> None:
    found = ranked(run(tmp_path, candidates(ids, kind, layout)))
    assert found.schema.field("query_id").type == found.schema.field("doc_id").type == kind
    assert found.num_rows == 2 * len(ids)
    assert pairs(found) == pairs(candidates(ids, kind))
    assert found["reason"].null_count == found.num_rows


READERS: dict[str, tuple[list[str], Callable[[Path], set[tuple[object, object]]]]] = {
    "csv": (TEXTS, csv_pairs),
    "trec_encoded": ([one for one in TEXTS if one], trec_pairs),
}


@pytest.mark.parametrize("name", READERS)
def test_every_format_that_holds_them_gives_them_back(tmp_path: Path, name: str) -> None:
    ids, read = READERS[name]
    table = candidates(list(ids), pa.string())
    outcome = run(tmp_path, table, name)
    files = sorted(Path(outcome.folder).glob(f"{name}/*"))
    found = [pair for path in files for pair in read(path)]
    assert len(found) == table.num_rows
    assert set(found) == pairs(table)
    exported = export_run(RunFolder(outcome.folder), name, output=str(tmp_path / "one"))
    assert exported.rows == table.num_rows
    assert read(tmp_path / "one") == pairs(table)


def test_trec_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    outcome = run(tmp_path, candidates(["q", "a b"], pa.string()))
    with pytest.raises(InputContractError, match=r"'a b' .*holds ' '.*trec_encoded"):
        export_run(RunFolder(outcome.folder), "trec", output=str(tmp_path / "one"))
    assert not (tmp_path / "one").exists()
