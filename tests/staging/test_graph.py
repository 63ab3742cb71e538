"""The Ray Data graphs give what one process gives, whatever is broadcast and whatever is moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.execution import staged_input
from pipeline.execution.preparation import Prepared, prepare
from tests.makers import write
from tests.staging.layouts import (
    SMALL,
    collection,
    corpus_table,
    lance_tables,
    queries_table,
    references,
    scattered_long,
    text,
)


@pytest.fixture(autouse=True)
def small_parts(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_input, "SIZES", SMALL)


def prepared(folder: Path, given: dict[str, Any], mode: str) -> Prepared:
    config = {
        "model": {"name": "lexical"},
        "input": given,
        "output": {"path": str(folder)},
        "units": {"documents": 40},
        "ray": {"mode": mode, "read_cpus": 1},
        "report": {"page": False},
    }
    return prepare(JobConfig.model_validate(config))


def parts_of(found: Prepared) -> dict[str, bytes]:
    assert found.staged is not None
    files = Path(found.staged.folder.path).glob("*.parquet")
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("layout", "broadcast_mib", "strategy"),
    [
        (scattered_long, 100, "shuffle"),
        (references, 100, "broadcast"),
        (references, 0, "shuffle"),
        (lance_tables, 0, "shuffle"),
    ],
)
def test_ray_makes_the_parts_that_one_process_makes(
    layout: Any, broadcast_mib: float, strategy: str, tmp_path: Path
) -> None:
    given = layout(tmp_path, collection()) | {"broadcast_mib": broadcast_mib}
    alone = prepared(tmp_path / "alone", given, "in_process")
    cluster = prepared(tmp_path / "cluster", given, "cluster")
    assert cluster.staged is not None
    assert cluster.staged.described()["strategy"] == strategy
    assert parts_of(cluster) == parts_of(alone)
    assert len(parts_of(alone)) > 2
    assert cluster.plan == alone.plan


def test_a_giant_list_is_one_part_of_many_row_groups(tmp_path: Path) -> None:
    whole = collection(queries=30, documents=400, candidates=5)
    giant = [(doc_id, float(400 - n)) for n, doc_id in enumerate(sorted(whole.corpus))]
    whole.lists["q0017"] = giant
    order = pa.array(
        [n * 7 % whole.references().num_rows for n in range(whole.references().num_rows)]
    )
    given = {
        "path": str(write(tmp_path / "in.parquet", whole.references().take(order))),
        "corpus": str(write(tmp_path / "corpus.parquet", corpus_table(whole))),
        "queries": str(write(tmp_path / "queries.parquet", queries_table(whole))),
    }
    found = prepared(tmp_path / "out", given, "cluster")
    assert found.staged is not None
    assert found.source.rows == 29 * 5 + 400
    assert sum(part["queries"] for part in found.staged.manifest["written"]) == 30


def test_what_is_wrong_with_a_source_is_said_as_what_it_is(tmp_path: Path) -> None:
    whole = collection()
    given = references(tmp_path, whole) | {"broadcast_mib": 0}
    lines = [f"{doc_id}\t{body}" for doc_id, (_, body) in whole.corpus.items()]
    given["corpus"] = str(text(tmp_path / "corpus.tsv", [*lines, "d0007\tanother"]))
    with pytest.raises(InputContractError, match="id 'd0007' stands twice with different contents"):
        prepared(tmp_path / "out", given, "cluster")
