from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import load
from pipeline.bench.measuring import Cost
from pipeline.candidates.inputs import open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.comparison.loading import CheckedModel, LoadedModel
from pipeline.comparison.named import NamedModel
from pipeline.comparison.scoring import Measured, _blocks, score_all
from pipeline.config import InputConfig, JobConfig
from tests.makers import long_table, nested_table, write


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> CandidateLists:
    """Thirty lists, the first and another one empty."""
    rows = nested_table(long_table(queries=30, documents=9)).to_pylist()
    rows[0]["candidates"] = rows[17]["candidates"] = []
    table = nested_table(long_table(queries=30, documents=9))
    table = table.from_pylist(rows, schema=table.schema)
    path = write(tmp_path_factory.mktemp("lists") / "in.parquet", table)
    source = open_input(InputConfig(path=(str(path),)))
    return read_lists(source, 0, source.rows)


def loaded(folder: Path, *names: str) -> list[LoadedModel]:
    base = JobConfig.model_validate(
        {
            "model": {"name": "lexical"},
            "input": {"path": "in"},
            "output": {"path": str(folder)},
            "replicas": {"num_gpus": 0},
        }
    )
    return [CheckedModel.of(NamedModel.of(name), base, frozenset()).loaded() for name in names]


def test_scores_are_those_of_the_model_whoever_else_is_compared(
    lists: CandidateLists, goldens: Path, tmp_path: Path
) -> None:
    tiny = str(goldens / "ms-marco-minilm-tiny")
    expected = load(tiny, device="cpu", dtype="float32").score_lists(lists)
    for names in (("lexical", tiny), (tiny, "lexical")):
        found = dict(zip(names, score_all(loaded(tmp_path, *names), lists), strict=True))
        np.testing.assert_allclose(found[tiny].scores, expected, atol=1e-5)
        for one in found.values():
            assert sum(one.documents) == lists.documents.num_rows
            assert one.documents == found[tiny].documents  # block by block
            assert len(one.costs) == 12
            assert 0 < one.encoding.wall_s < sum(cost.wall_s for cost in one.costs)
        assert (found["lexical"].cut, found[tiny].cut) == (None, 0)
        assert found[tiny].counted.tokens > 0


def test_blocks_cover_every_list_once(lists: CandidateLists) -> None:
    for least in (1, 20, 10_000):
        blocks = _blocks(lists, least=least)
        documents = [lists.offsets[last] - lists.offsets[first] for first, last in blocks]
        assert sum(documents) == lists.documents.num_rows
        assert min(documents) > 0
        assert [last for _, last in blocks[:-1]] == [first for first, _ in blocks[1:]]
    assert len(blocks) == 1


def test_a_pace_is_compared_block_by_block() -> None:
    def measured(*seconds: float) -> Measured:
        nothing = np.zeros(0)
        costs = [Cost(wall_s=one) for one in seconds]
        return Measured(scores=nothing, codes=nothing, documents=[8] * len(costs), costs=costs)

    steady, busy = measured(1, 1, 4), measured(2, 2, 8)  # both were slow in the last block
    assert busy.times_as_fast(steady) == 0.5
    assert steady.times_as_fast(busy) == 2
    assert steady.speeds == [8, 8, 2]
