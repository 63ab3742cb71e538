"""Upstream's scores on a GPU: float32 as on CPU, bfloat16 within what tiny networks round away."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.api import load
from tests.rerankers.golden_work import FAMILIES, GOLDENS, GoldenWork, golden_work

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

#: Largest difference from upstream's float32 on CPU.
FLOAT32 = 1e-4

#: Root of the mean square of the difference in bfloat16, in standard deviations of the scores.
#: Networks of a few dozen dimensions with random weights have nothing to average rounding out, and
#: a single score may be off by more than half a deviation; on CPU it is up to 0.13. Scores that
#: have nothing to do with upstream's are at 1.4.
BFLOAT16 = 0.4

#: Tokens of a forward pass: several of each golden, and no trials before them, which have a test of
#: their own.
BUDGET = 4_096

#: Of upstream's ten best of a hundred candidates or more, what bfloat16 has among its ten best.
OVERLAP = 0.7


@cache
def works(name: str) -> tuple[GoldenWork, ...]:
    return tuple(golden_work(name))


def scored(name: str, *, dtype: str, packing: str) -> list[npt.NDArray[np.float32]]:
    how: dict[str, Any] = {
        "device": "cuda",
        "dtype": dtype,
        "packing": packing,
        "family": FAMILIES[name],
        "token_budget": BUDGET,
    }
    return [
        load(GOLDENS / name, **how, **work.settings).score_lists(work.lists) for work in works(name)
    ]


def test_every_golden_is_read() -> None:
    assert set(FAMILIES) == {path.parent.name for path in GOLDENS.glob("*/cases.jsonl")}
    for name in FAMILIES:
        assert sum(np.isfinite(work.scores).sum() for work in works(name)) > 90


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("packing", ["auto", "padded"])
@pytest.mark.parametrize("name", FAMILIES)
def test_float32_gives_upstreams_scores(name: str, packing: str) -> None:
    for work, scores in zip(
        works(name), scored(name, dtype="float32", packing=packing), strict=True
    ):
        told = ~np.isnan(work.scores)
        np.testing.assert_allclose(scores[told], work.scores[told], atol=FLOAT32, rtol=0)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("packing", ["auto", "padded"])
@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_stays_near_upstreams_scores(name: str, packing: str) -> None:
    found = scored(name, dtype="bfloat16", packing=packing)
    together = [np.concatenate(each) for each in (found, [work.scores for work in works(name)])]
    told = ~np.isnan(together[1])
    assert rounded(together[0][told], together[1][told]) < BFLOAT16
    for work, scores in zip(works(name), found, strict=True):
        told = ~np.isnan(work.scores)
        for query in {query for query in work.queries if work.queries.count(query) >= 100}:
            places = np.array([asked == query for asked in work.queries]) & told
            assert overlap(scores[places], work.scores[places]) >= OVERLAP, query


def rounded(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float64]) -> float:
    """How far scores are from upstream's, in standard deviations of these."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2)) / np.std(theirs))


def overlap(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float64]) -> float:
    """Share of upstream's ten best that are among ours."""
    best = [set(np.argsort(-scores, kind="stable")[:10].tolist()) for scores in (ours, theirs)]
    return len(best[0] & best[1]) / 10
