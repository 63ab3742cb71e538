"""The token_logit family against upstream: sentence-transformers itself, and vendors' own steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints import cards
from pipeline.errors import ConfigurationError, ModelError

GOLDENS = Path(__file__).parents[1] / "goldens"

#: The card whose settings each golden of a vendor's code is scored with; the others say it all.
CARDS = {
    "bge-reranker-gemma-tiny": "bge-reranker-v2-gemma",
    "ctxl-rerank-6b-tiny": "ctxl-rerank-v2-6b",
    "ctxl-rerank-tiny": None,
    "mxbai-rerank-v2-tiny": "mxbai-rerank-base-v2",
    "zerank-tiny": None,
}


def cases(name: str) -> list[dict[str, Any]]:
    lines = (GOLDENS / name / "cases.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def settings_of(name: str, case: dict[str, Any]) -> dict[str, Any]:
    card = CARDS[name]
    given = {} if card is None else dict(cards.read(card).settings)
    asked = {"instruction": case["instruction"], "max_length": case["max_length"]}
    if card is not None and case["max_length"] is None:
        asked["max_length"] = 2048  # tiny models have fewer positions than the card's
    return given | {key: value for key, value in asked.items() if value is not None}


def load(name: str | Path, **settings: Any) -> api.Ranker:
    where = name if isinstance(name, Path) else GOLDENS / name
    return api.load(str(where), device="cpu", dtype="float32", **settings)


def lists_of(pairs: list[list[str]]) -> CandidateLists:
    """Every pair a list of its own, all in one unit."""
    single = [CandidateLists.from_texts(query, [document]) for query, document in pairs]
    return CandidateLists(
        queries=pa.concat_tables([one.queries for one in single]),
        offsets=np.arange(len(pairs) + 1, dtype=np.int64),
        documents=pa.concat_tables([one.documents for one in single]),
    )


def ids_of(ranker: api.Ranker, lists: CandidateLists) -> list[list[int]]:
    sequences = ranker.engine.reranker.encode(lists).unshared()
    ends = sequences.offsets.tolist()
    return [sequences.token_ids[a:b].tolist() for a, b in zip(ends, ends[1:], strict=False)]


CASES = [(name, case) for name in CARDS for case in cases(name)]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{n}-{c['case']}" for n, c in CASES])
def test_golden(name: str, case: dict[str, Any]) -> None:
    lists = lists_of(case["pairs"])
    how = {} if CARDS[name] is None else {"family": "token_logit"}  # a folder says it by itself
    for packing, share in (("packed", True), ("packed", False), ("padded", False)):
        options = {"packing": packing, "share_prefixes": share}
        ranker = load(name, **how, **options, **settings_of(name, case))
        assert ids_of(ranker, lists) == case["expected"]["input_ids"]
        scores = ranker.score_lists(lists)
        np.testing.assert_allclose(scores, case["expected"]["scores"], rtol=0, atol=1e-5)
        assert ranker.score_scale == "logit"
