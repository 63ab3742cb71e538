"""A quantised engine is compared with the reference on what it scores first, and maybe refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.engine import processor
from pipeline.engine.agreement import SAMPLE, Sampled, first_lists
from pipeline.errors import ConfigurationError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.makers import WORDS, long_table, write

exact_sums = pytest.mark.skipif(not processor.has_int8(), reason="no instructions for int8 sums")

QUERY = "ranks documents"
TEXTS = [" ".join(np.random.default_rng(seed).choice(WORDS, 9)) for seed in range(SAMPLE + 20)]


def ranker(goldens: Path, **asked: Any) -> api.Ranker:
    return api.load(goldens / "ms-marco-minilm-tiny", family="cross_encoder", device="cpu", **asked)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_lists_count_by_their_best() -> None:
    rising = np.arange(20, dtype=np.float32)
    swapped = rising.copy()
    swapped[[19, 0]] = swapped[[0, 19]]  # one of the ten best falls out
    found = Sampled().add(swapped, rising)
    assert (found.best, found.shared, found.most) == (10, 9, 19)
    short = found.add(scores(1, 2, 3), scores(3, 2, 1))  # two of three are the better half
    assert (short.best, short.shared, short.lists) == (12, 10, 2)
    assert short.plain()["tau"] == pytest.approx((found.tau - 1) / 2)


def test_a_list_without_an_order_tells_nothing() -> None:
    found = Sampled().add(scores(1), scores(2)).add(scores(np.nan, 1, 2), scores(1, 1, np.nan))
    assert found.documents == 2
    assert found.plain() == {"documents": 2, "most": 0, "overlap": 1, "tau": 1}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 30), st.booleans())
def test_the_sample_is_of_the_first_lists(counts: list[int], documents: int, whole: bool) -> None:
    texts = CandidateLists.from_texts(QUERY, TEXTS[: sum(counts)])
    queries = texts.queries.take([0] * len(counts))
    offsets = np.append(0, np.cumsum(counts)).astype(np.int64)
    lists = CandidateLists(queries=queries, offsets=offsets, documents=texts.documents)
    part = first_lists(lists, documents, whole=whole)
    assert part.offsets[-1] == part.documents.num_rows
    assert len(part.offsets) == len(part) + 1
    if whole:
        assert np.array_equal(part.offsets, offsets[: len(part) + 1])
        assert part.offsets[-1] <= max(documents, offsets[1])
    else:
        assert part.documents.num_rows == min(documents, offsets[-1])


@exact_sums
def test_int8_is_compared_until_the_sample_is_full(goldens: Path) -> None:
    exact, coarse = ranker(goldens), ranker(goldens, dtype="int8", min_overlap=0)
    check = coarse.engine.agreement
    assert check is not None
    assert exact.engine.agreement is None
    parts = [TEXTS[:3], TEXTS[3:SAMPLE], TEXTS[SAMPLE:]]
    found = [coarse.score(QUERY, part) for part in parts]
    wanted = [exact.score(QUERY, part) for part in parts]
    assert check.found.documents == SAMPLE
    apart = max(np.abs(a - b).max() for a, b in zip(found[:2], wanted[:2], strict=True))
    assert check.found.most == pytest.approx(apart, rel=1e-3)
    assert 0 < apart < 0.5 * np.concatenate(wanted).std()  # 32 wide, so far from exact


@exact_sums
def test_a_score_in_int8_does_not_depend_on_its_batch(goldens: Path) -> None:
    coarse = ranker(goldens, dtype="int8", min_overlap=0)
    together = coarse.score(QUERY, TEXTS[:30])
    alone = [coarse.score(QUERY, [text])[0] for text in TEXTS[:30]]
    np.testing.assert_allclose(together, alone, atol=2e-6)


@exact_sums
def test_an_engine_below_the_least_overlap_is_refused(goldens: Path) -> None:
    coarse = ranker(goldens, dtype="int8", min_overlap=1.0)
    check = coarse.engine.agreement
    assert check is not None
    check.found = Sampled(documents=10, best=5, shared=4, lists=1, tau=0.5)
    with pytest.raises(ConfigurationError, match=r"int8 names .*less than engine.min_overlap = 1"):
        coarse.score(QUERY, TEXTS[:9])


@exact_sums
def test_the_report_of_a_run_says_how_far_it_agrees(goldens: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=8), row_group_size=10)
    job = {
        "model": {"family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny")},
        "input": {"path": str(path)},
        "output": {"path": str(tmp_path / "out")},
        "engine": {"dtype": "int8", "min_overlap": 0.5},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    }
    done = execute(prepare(JobConfig.model_validate(job)))
    report = json.loads((Path(done.folder) / "report.json").read_text(encoding="utf-8"))
    found = report["agreement"]
    assert found["documents"] > 8
    assert found["most"] > 0
    assert 0.5 <= found["overlap"] <= 1


@pytest.mark.parametrize(
    ("dtype", "gpus", "message"),
    [("int8", 1, "int8 is for CPUs.*float8"), ("float8", 0, "float8 is for GPUs.*int8")],
)
def test_a_precision_of_another_device_is_refused_in_the_plan(
    dtype: str, gpus: int, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=2))
    job = {
        "model": {"name": "lexical"},
        "input": {"path": str(path)},
        "output": {"path": str(tmp_path / "out")},
        "engine": {"dtype": dtype},
        "replicas": {"num_gpus": gpus},
    }
    with pytest.raises(ConfigurationError, match=message):
        prepare(JobConfig.model_validate(job))
