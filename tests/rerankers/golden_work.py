"""The goldens of every family read in one way: settings, lists, and upstream's scores of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints import cards

GOLDENS = Path(__file__).parents[1] / "goldens"

Case = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GoldenWork:
    """Lists that are scored with the same settings.

    Attributes:
        settings: of the family, as ``load`` takes them.
        lists: what is scored; pairs are lists of one document each.
        scores: float64 [N], upstream's, in float32 on CPU.
        queries: the query of each document, for what is ranked.
    """

    settings: dict[str, Any]
    lists: CandidateLists
    scores: npt.NDArray[np.float64]
    queries: list[str]


def golden_work(name: str) -> Iterator[GoldenWork]:
    """All cases of a golden, those with equal settings together."""
    together: dict[str, list[tuple[Case, dict[str, Any]]]] = {}
    settings_of, lists_of, scores_of = _READERS[FAMILIES[name]]
    for case in _cases(name):
        settings = settings_of(case)
        together.setdefault(json.dumps(settings, sort_keys=True), []).append((case, settings))
    for group in together.values():
        cases = [case for case, _ in group]
        lists = _joined([lists_of(case) for case in cases])
        asked = lists.queries.column(schema.QUERY).to_pylist()
        yield GoldenWork(
            settings=group[0][1],
            lists=lists,
            scores=np.concatenate([np.atleast_1d(scores_of(case)) for case in cases]),
            queries=[asked[place] for place in lists.query_of_document.tolist()],
        )


def _cases(name: str) -> Iterator[Case]:
    for line in (GOLDENS / name / "cases.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        if "raises" in case["expected"]:
            continue
        if "gray16" in line and int(Image.__version__.split(".")[0]) < 13:
            continue  # 16-bit grey is converted in another way
        yield case


def _joined(parts: list[CandidateLists]) -> CandidateLists:
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return CandidateLists(
        queries=pa.concat_tables([part.queries for part in parts], promote_options="default"),
        offsets=np.append(0, np.cumsum(sizes)).astype(np.int64),
        documents=pa.concat_tables([part.documents for part in parts], promote_options="default"),
    )


def _pairs(case: Case) -> CandidateLists:
    return _joined([CandidateLists.from_texts(query, [text]) for query, text in case["pairs"]])


def _list(case: Case) -> CandidateLists:
    return CandidateLists.from_texts(case["query"], case["documents"])


def _pairs_or_list(case: Case) -> CandidateLists:
    return _pairs(case) if "pairs" in case else _list(case)


def sides(case: Case) -> CandidateLists:
    """A list whose query and documents are texts or images."""
    query, documents = case["query"], case["documents"]
    plain = CandidateLists.from_texts(query.get("text", ""), [d.get("text") for d in documents])
    images = pa.array([document.get("image") for document in documents], pa.string())
    asked = pa.array([query.get("image")], pa.string())
    return replace(
        plain,
        queries=plain.queries.append_column(schema.IMAGE, asked),
        documents=plain.documents.append_column(schema.IMAGE, images),
    )


def _jina_v2_settings(case: Case) -> dict[str, Any]:
    if "pairs" in case:
        return {"max_length": case["max_length"], "long_documents": "truncate"}
    asked = case["kwargs"]
    names = {"max_length": "max_length", "max_query_length": "max_query_length"}
    names |= {"overlap": "overlap_tokens"}
    return {ours: asked[theirs] for ours, theirs in names.items()}


def _jina_v2_scores(case: Case) -> Any:
    expected = case["expected"]
    if "pairs" in case:
        return expected["scores"]
    return [document["score"] for document in expected["documents"]]


def _jina_v3_settings(case: Case) -> dict[str, Any]:
    asked = {key: value for key, value in case["kwargs"].items() if key != "top_n"}
    if "model_max_length" in case["overrides"]:
        asked["max_length"] = case["overrides"]["model_max_length"]
    return asked


def _jina_v3_scores(case: Case) -> Any:
    expected = case["expected"]
    if expected["scores_by_index"] is not None:
        return expected["scores_by_index"]
    scores = np.full(len(case["documents"]), np.nan)  # upstream told the best few only
    for result in expected["results"]:
        scores[result["index"]] = result["relevance_score"]
    return scores


def _qwen3_settings(case: Case) -> dict[str, Any]:
    asked = {"instruction": case["instruction"]} if case["instruction"] else {}
    return {"max_length": case["max_length"], "activation": "none", **asked}


def _qwen3_vl_settings(case: Case) -> dict[str, Any]:
    base = str(GOLDENS / "qwen3-vl-reranker-tiny")
    return {**case["kwargs"], "activation": "none", "images": {"base": base}}


def _log_odds(case: Case) -> Any:
    return np.subtract(case["expected"]["yes_logits"], case["expected"]["no_logits"])


def token_logit_settings(case: Case) -> dict[str, Any]:
    """Of the card that a case is made for, if there is one; else a folder says all by itself."""
    given = {} if case["card"] is None else dict(cards.read(case["card"]).settings)
    asked = {"instruction": case["instruction"], "max_length": case["max_length"]}
    return given | {key: value for key, value in asked.items() if value is not None}


_Reader = tuple[
    Callable[[Case], dict[str, Any]], Callable[[Case], CandidateLists], Callable[[Case], Any]
]

_LOGITS: _Reader = (
    lambda case: {"max_length": case["max_length"], "activation": "none"},
    _pairs,
    lambda case: case["expected"]["logits"],
)

_READERS: dict[str, _Reader] = {
    "bidirectional_decoder": _LOGITS,
    "cross_encoder": _LOGITS,
    "decoder_classifier": _LOGITS,
    "late_interaction": (
        lambda case: {
            "query_max_length": case["query_maxlen"],
            "document_max_length": case["doc_maxlen"],
        },
        _list,
        lambda case: case["expected"]["scores"],
    ),
    "jina_m0": (
        lambda case: {**case["kwargs"], "images": {"base": str(GOLDENS / "jina-reranker-m0")}},
        sides,
        lambda case: case["expected"]["scores"],
    ),
    "jina_v1": (
        lambda case: {"max_length": case["max_length"]},
        _pairs,
        lambda case: case["expected"]["scores"],
    ),
    "jina_v2": (_jina_v2_settings, _pairs_or_list, _jina_v2_scores),
    "jina_v3": (_jina_v3_settings, _list, _jina_v3_scores),
    "qwen3_reranker": (_qwen3_settings, _pairs, _log_odds),
    "token_logit": (token_logit_settings, _pairs, lambda case: case["expected"]["scores"]),
    "qwen3_vl_reranker": (_qwen3_vl_settings, sides, lambda case: case["expected"]["logits"]),
}

#: The family that runs each golden.
FAMILIES = {
    "bge-reranker-gemma-tiny": "token_logit",
    "bge-reranker-tiny": "cross_encoder",
    "ctxl-rerank-6b-tiny": "token_logit",
    "ctxl-rerank-tiny": "token_logit",
    "electra-reranker-tiny": "cross_encoder",
    "ettin-reranker-tiny": "cross_encoder",
    "jina-colbert-v2-tiny": "late_interaction",
    "jina-reranker-m0": "jina_m0",
    "jina-reranker-v1-tiny-tiny": "jina_v1",
    "jina-reranker-v1-turbo-tiny": "jina_v1",
    "jina-reranker-v2-tiny": "jina_v2",
    "jina-reranker-v3": "jina_v3",
    "jina-reranker-v3-5-tiny": "jina_v3",
    "jinabert-variants-tiny": "jina_v1",
    "llama-nemotron-rerank-tiny": "bidirectional_decoder",
    "ms-marco-minilm-tiny": "cross_encoder",
    "multi-vector-modernbert-tiny": "late_interaction",
    "mxbai-rerank-tiny": "cross_encoder",
    "mxbai-rerank-v2-tiny": "token_logit",
    "pylate-colbert-tiny": "late_interaction",
    "qwen3-reranker-tiny": "qwen3_reranker",
    "qwen3-seq-cls-tiny": "decoder_classifier",
    "zerank-tiny": "token_logit",
    "two-label-bert-tiny": "cross_encoder",
    "qwen3-vl-reranker-tiny": "qwen3_vl_reranker",
}
