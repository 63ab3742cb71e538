"""``engine.deterministic``: the same bits, whatever the number of replicas and after a restart."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from tests.fixtures_runs import Rerank
from tests.makers import write

GOLDENS = Path(__file__).parents[1] / "goldens"
ENGINE = {"deterministic": True, "token_budget": 256}


def model(golden: str, family: str) -> dict[str, str]:
    return {"family": family, "weights": str(GOLDENS / golden)}


def lists(queries: int) -> pa.Table:
    """Twelve documents a query, of one to twelve words."""
    words = ["ray", "rerank", "night", "index", "corpus", "window", "token", "score"]
    rows = [(q, d) for q in range(queries) for d in range(1, 13)]
    return pa.table(
        {
            "query_id": [f"q{q}" for q, _ in rows],
            "query": [f"query {words[q % 8]}" for q, _ in rows],
            "doc_id": [f"d{d}" for _, d in rows],
            "text": [" ".join(words[(q * d + i) % 8] for i in range(d)) for q, d in rows],
        }
    )


def unit_files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder, "ranked").glob("unit-*.parquet")}


@pytest.mark.parametrize(
    ("golden", "family"),
    [("ms-marco-minilm-tiny", "cross_encoder"), ("qwen3-reranker-tiny", "qwen3_reranker")],
)
def test_the_same_bits_from_one_replica_three_and_a_restart(
    rerank: Rerank, rerank_in_process: Rerank, tmp_path: Path, golden: str, family: str
) -> None:
    source = write(tmp_path / "lists.parquet", lists(24))
    common = {"model": model(golden, family), "engine": ENGINE, "units": {"documents": 36}}
    replicas = {"min": 1, "num_gpus": 0, "num_cpus": 0.5}
    one = rerank_in_process(source, output="one", **common, replicas=replicas)
    expected = unit_files(one.folder)
    assert len(expected) == 8

    # Half of the files are lost and made again on Ray, by three replicas in other processes.
    (Path(one.folder) / "_SUCCESS").unlink()
    for name in sorted(expected)[::2]:
        (Path(one.folder) / "ranked" / name).unlink()
    three = rerank(source, output="one", **common, replicas={**replicas, "min": 3})
    assert three.folder == one.folder
    assert three.units_run == 4
    assert unit_files(three.folder) == expected


def test_what_batches_are_made_of_makes_another_run_only_where_bits_must_repeat(
    tmp_path: Path,
) -> None:
    source = write(tmp_path / "lists.parquet", lists(2))

    def run_id(**engine: object) -> str:
        config = {
            "model": model("ms-marco-minilm-tiny", "cross_encoder"),
            "input": {"path": str(source)},
            "output": {"path": str(tmp_path / "out")},
            "engine": engine,
            "replicas": {"num_gpus": 0},
        }
        return prepare(JobConfig.model_validate(config)).plan.run_id

    assert run_id(token_budget=256) == run_id(token_budget=512)
    assert run_id(**ENGINE) != run_id(**{**ENGINE, "token_budget": 512})
    assert run_id(**ENGINE) != run_id(token_budget=256)
