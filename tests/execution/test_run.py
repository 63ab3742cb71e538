"""A run from input to output.

What its rows and files are is the same wherever units are worked on, and is looked at in this
process; on Ray runs what is of Ray: replicas, many files, images and errors that cross processes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputContractError, QuarantineError
from tests.fixtures_runs import Rerank, ranked
from tests.makers import long_table, nested_table, write, write_parts


def digests(folder: str) -> dict[str, str]:
    paths = sorted(Path(folder).rglob("*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_output_is_ranked_described_and_complete(rerank_in_process: Rerank, tmp_path: Path) -> None:
    table = long_table().append_column("lang", pa.array(["en"] * long_table().num_rows))
    path = write(tmp_path / "in.parquet", table)
    outcome = rerank_in_process(path, write={"columns": ["lang"]}, units={"documents": 20})
    found = ranked(outcome)
    assert found.column_names == [
        "query_id", "doc_id", "rank", "score", "first_stage_rank", "first_stage_score", "reason",
        "lang",
    ]  # fmt: skip
    pairs = set(zip(found["query_id"].to_pylist(), found["doc_id"].to_pylist(), strict=True))
    wanted = set(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    assert pairs == wanted
    assert found.num_rows == table.num_rows
    for query in set(found["query_id"].to_pylist()):
        rows = [row for row in found.to_pylist() if row["query_id"] == query]
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["score"] for row in rows] == sorted((r["score"] for r in rows), reverse=True)
    one = next(Path(outcome.folder, "ranked").glob("*.parquet"))
    metadata = {k.decode(): v.decode() for k, v in pq.read_schema(one).metadata.items()}
    assert metadata["model"] == "lexical"
    assert metadata["score_scale"] == "overlap"
    assert metadata["run_id"] == Path(outcome.folder).name
    assert {"fingerprint", "revision", "version"} <= set(metadata)
    assert pq.ParquetFile(one).metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_run_folder_holds_plan_description_manifest_and_success(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table())
    outcome = rerank_in_process(path, units={"documents": 20})
    folder = Path(outcome.folder)
    written = (folder / "manifest.json").read_bytes()
    manifest = json.loads(written)
    success = json.loads((folder / "_SUCCESS").read_text())
    assert success["manifest_sha256"] == hashlib.sha256(written).hexdigest()
    plan = pq.read_table(folder / "plan.parquet")
    assert [unit["unit"] for unit in manifest["units"]] == plan["unit"].to_pylist()
    assert manifest["documents"] == long_table().num_rows
    described = json.loads((folder / "run.json").read_text())
    assert described["config"]["model"]["family"] == "lexical"
    assert described["input"][0]["path"] == str(path)
    assert {"python", "ray", "torch", "pyarrow"} <= set(described["versions"])
    assert not (folder / "quarantine").exists()


def test_a_finished_run_does_nothing_and_an_interrupted_one_resumes(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=30), row_group_size=10)
    first = rerank_in_process(path, units={"documents": 20})
    before = digests(first.folder)
    again = rerank_in_process(path, units={"documents": 20})
    assert (again.already_finished, again.units_run) == (True, 0)
    units = sorted(Path(first.folder, "ranked").iterdir())
    kept = {unit: unit.stat().st_mtime_ns for unit in units[2:]}
    for unit in units[:2]:
        unit.unlink()
    for name in ("_SUCCESS", "manifest.json"):
        Path(first.folder, name).unlink()
    resumed = rerank_in_process(path, units={"documents": 20})
    assert resumed.units_run == 2
    assert digests(first.folder) == before
    assert {unit: unit.stat().st_mtime_ns for unit in units[2:]} == kept
    assert resumed.manifest == first.manifest


@pytest.mark.parametrize("family", ["lexical", "cross_encoder", "jina_v3"])
def test_one_replica_in_process_and_three_on_ray_write_the_same_rows(
    rerank: Rerank, rerank_in_process: Rerank, tmp_path: Path, goldens: Path, family: str
) -> None:
    checkpoints = {"cross_encoder": "bge-reranker-tiny", "jina_v3": "jina-reranker-v3"}
    model = {"family": family}
    if family in checkpoints:
        model["weights"] = str(goldens / checkpoints[family])
    path = write(tmp_path / "in.parquet", long_table(queries=40), row_group_size=10)
    units = {"documents": 15}
    one = ranked(rerank_in_process(path, output="one", model=model, units=units))
    replicas = {"min": 3, "num_gpus": 0, "num_cpus": 0.5}
    three = ranked(rerank(path, output="three", model=model, units=units, replicas=replicas))
    assert one.drop_columns("score").equals(three.drop_columns("score"))
    np.testing.assert_allclose(one["score"], three["score"], atol=1e-5)


def test_a_damaged_image_costs_its_own_document_only(
    rerank: Rerank, tmp_path: Path, goldens: Path
) -> None:
    golden = goldens / "jina-reranker-m0"
    good = (golden / "images" / "odd_301x197.png").read_bytes()
    table = pa.table(
        {
            "query_id": ["a"] * 4,
            "query": ["a chart"] * 4,
            "doc_id": ["whole", "cut", "text", "neither"],
            "text": pa.array([None, None, "a text beside the images", None], pa.string()),
            "image": pa.array([good, good[: len(good) // 2], None, None], pa.binary()),
        }
    )
    outcome = rerank(
        write(tmp_path / "in.parquet", table),
        model={"family": "jina_m0", "weights": str(golden)},
        quarantine={"max_error_rate": 0.5},
    )
    reasons = {row["doc_id"]: row["reason"] for row in ranked(outcome).to_pylist()}
    assert reasons == {"whole": None, "text": None, "cut": "image_decode", "neither": "null_text"}


def test_images_are_read_where_the_job_allows_it(
    rerank_in_process: Rerank, tmp_path: Path, goldens: Path
) -> None:
    golden = goldens / "jina-reranker-m0"
    (tmp_path / "secret.png").write_bytes((golden / "images/odd_301x197.png").read_bytes())
    places = {
        "relative": "images/odd_301x197.png",
        "absolute": str(golden / "images/odd_301x197.png"),
        "elsewhere": str(tmp_path / "secret.png"),
        "inside": "https://127.0.0.1/a.png",
    }
    columns = {"query_id": ["a"] * 4, "query": ["a chart"] * 4, "doc_id": list(places)}
    table = pa.table({**columns, "text": pa.nulls(4, pa.string()), "image": list(places.values())})
    found = []
    for images in ({}, {"base": str(golden), "https_hosts": ["127.0.0.1"]}):
        outcome = rerank_in_process(
            write(tmp_path / "in.parquet", table),
            input={"images": images},
            model={"family": "jina_m0", "weights": str(golden)},
            quarantine={"max_error_rate": 1},
        )
        found.append({row["doc_id"]: row["reason"] for row in ranked(outcome).to_pylist()})
    assert found[0] == dict.fromkeys(places, "image_fetch")
    assert found[1] == found[0] | {"relative": None, "absolute": None}


@pytest.mark.parametrize("family", ["lexical", "cross_encoder"])
def test_layout_and_number_of_files_do_not_change_a_row(
    rerank: Rerank, rerank_in_process: Rerank, tmp_path: Path, goldens: Path, family: str
) -> None:
    table = long_table(queries=25)
    model = {"family": family}
    if family == "cross_encoder":
        model["weights"] = str(goldens / "ms-marco-minilm-tiny")
    inputs = {
        "one": write(tmp_path / "one.parquet", table),
        "forty": write_parts(tmp_path / "forty", table, 40, row_group_size=2),
        "nested": write(tmp_path / "nested.parquet", nested_table(table)),
    }
    workers = {"one": rerank_in_process, "forty": rerank, "nested": rerank_in_process}
    found = {
        name: ranked(
            workers[name](path, output=f"ranked-{name}", model=model, units={"documents": 30})
        )
        for name, path in inputs.items()
    }
    reference = found.pop("one")
    for name, other in found.items():
        assert other.drop_columns("score").equals(reference.drop_columns("score")), name
        np.testing.assert_allclose(other["score"], reference["score"], atol=1e-5)


def test_token_counts_are_written_on_request(
    rerank_in_process: Rerank, tmp_path: Path, goldens: Path
) -> None:
    rows = [
        {"query_id": "a", "query": "red", "doc_id": str(i), "text": text}
        for i, text in enumerate(["red", None, "red " * 400])
    ]
    path = write(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    weights = str(goldens / "ms-marco-minilm-tiny")
    outcome = rerank_in_process(
        path,
        model={"family": "cross_encoder", "weights": weights, "settings": {"max_length": 64}},
        write={"token_counts": True},
        quarantine={"max_error_rate": 1.0},
    )
    found = {
        row["doc_id"]: (row["n_tokens"], row["truncated"]) for row in ranked(outcome).to_pylist()
    }
    assert found["1"] == (None, None)
    assert found["0"][1] is False
    assert found["2"][1] is True
    assert found["2"][0] > found["0"][0]


def test_integer_ids_stay_integers(rerank_in_process: Rerank, tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": pa.array([7, 7, 3], pa.int32()),
            "query": ["a", "a", "b"],
            "doc_id": pa.array([10, 9, 1], pa.int64()),
            "text": ["a", "a", "b"],
        }
    )
    found = ranked(rerank_in_process(write(tmp_path / "ints.parquet", table)))
    assert found.schema.field("query_id").type == pa.int32()
    assert found.schema.field("doc_id").type == pa.int64()
    assert found["doc_id"].to_pylist() == [1, 10, 9]


def test_limit_ranks_the_first_queries_only(rerank_in_process: Rerank, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=20), row_group_size=7)
    found = ranked(rerank_in_process(path, limit=4))
    assert sorted(set(found["query_id"].to_pylist())) == ["q000", "q001", "q002", "q003"]


def test_zero_rows_make_an_empty_finished_run_where_that_is_allowed(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    empty = write(tmp_path / "none.parquet", long_table().slice(0, 0))
    outcome = rerank_in_process(empty, input={"allow_empty": True})
    assert outcome.manifest["documents"] == 0
    assert Path(outcome.folder, "_SUCCESS").exists()


def test_bad_rows_rank_last_and_stand_in_quarantine(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    table = long_table(queries=5, documents=5)
    texts = table["text"].to_pylist()
    texts[0] = None
    table = table.set_column(3, "text", pa.array(texts, pa.string()))
    path = write(tmp_path / "in.parquet", table)
    outcome = rerank_in_process(path, quarantine={"max_error_rate": 0.5})
    found = [r for r in ranked(outcome).to_pylist() if r["query_id"] == "q000"]
    assert (found[-1]["doc_id"], found[-1]["score"]) == ("d0", None)
    assert found[-1]["reason"] == "null_text"
    assert outcome.manifest["reasons"] == {"null_text": 1}
    [row] = pq.ParquetDataset(f"{outcome.folder}/quarantine").read().to_pylist()
    assert (row["query_id"], row["doc_id"], row["reason"]) == ("q000", "d0", "null_text")
    assert set(row) == {"unit", "query_id", "doc_id", "reason", "message"}


def test_too_many_bad_rows_fail_the_run_unpublished(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    table = long_table(queries=4)
    empty = pa.nulls(table.num_rows, pa.string())
    path = write(tmp_path / "in.parquet", table.set_column(3, "text", empty))
    with pytest.raises(QuarantineError, match=r"could not be scored \(null_text \d+\), more than"):
        rerank_in_process(path)
    [folder] = (tmp_path / "runs").iterdir()
    assert not (folder / "_SUCCESS").exists()
    published = rerank_in_process(path, quarantine={"max_error_rate": 1.0})
    assert published.units_run == 0
    assert (folder / "_SUCCESS").exists()


def test_an_unsorted_query_across_units_is_refused(rerank: Rerank, tmp_path: Path) -> None:
    table = long_table(queries=30)
    apart = pa.concat_tables([table.slice(2), table.slice(0, 2)])
    path = write(tmp_path / "apart.parquet", apart, row_group_size=10)
    with pytest.raises(InputContractError, match="unsorted input: query_id 'q000' stands in two"):
        rerank(path, units={"documents": 10}, input={"order": "grouped"})


def test_damaged_data_pages_name_file_and_row_group(rerank: Rerank, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=200), row_group_size=100)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(
        InputContractError, match=r"in\.parquet, row group 0, column .*: not readable"
    ):
        rerank(path)
