"""jina-reranker-v2 against upstream's compute_score() and rerank()."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import Ranker, load
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.pairs import sigmoid
from pipeline.rerankers.jina_v2 import JinaV2, JinaV2Settings
from pipeline.sequences.sequences import Sequences

NAME = "jina-reranker-v2-tiny"
TOLERANCE = 1e-4
QUERY = "Organic skincare products for sensitive skin"
LONG = "Eco-friendly aloe vera and chamomile, measured twice. " * 60

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]


@pytest.fixture(scope="module")
def model(goldens: Path) -> Callable[..., Ranker]:
    def build(**settings: Any) -> Ranker:
        return load(str(goldens / NAME), family="jina_v2", device="cpu", **settings)

    return build


def cases_of(cases: Cases, api: str) -> list[dict[str, Any]]:
    return [case for case in cases(NAME) if case["api"] == api]


def rerank_settings(case: dict[str, Any]) -> dict[str, int]:
    names = {"max_length": "max_length", "max_query_length": "max_query_length"}
    names |= {"overlap_tokens": "overlap"}
    return {ours: case["kwargs"][theirs] for theirs, ours in names.items()}


@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_compute_score(
    model: Callable[..., Ranker], cases: Cases, pair_lists: PairLists, packing: str
) -> None:
    for case in cases_of(cases, "compute_score"):
        options = {"long_documents": "truncate", "packing": packing}
        ranker = model(max_length=case["max_length"], **options)
        lists = pair_lists(case["pairs"])
        sequences = ranker.engine.reranker.encode(lists)
        expected = case["expected"]
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        first = expected["first_input_ids"]
        assert sequences.token_ids[: sequences.lengths[0]][: len(first)].tolist() == first
        wanted = np.atleast_1d(expected["scores"])
        np.testing.assert_allclose(
            ranker.score_lists(lists), wanted, atol=TOLERANCE, rtol=0, err_msg=case["case"]
        )


def test_rerank(model: Callable[..., Ranker], cases: Cases) -> None:
    for case in cases_of(cases, "rerank"):
        expected = case["expected"]
        if "raises" in expected:
            continue
        ranker = model(**rerank_settings(case))
        wanted = [document["score"] for document in expected["documents"]]
        got = ranker.score(case["query"], case["documents"])
        np.testing.assert_allclose(got, wanted, atol=TOLERANCE, rtol=0, err_msg=case["case"])
        top_n = case["kwargs"]["top_n"] or len(case["documents"])
        ranked = ranker.rank(case["query"], case["documents"], top_k=top_n)
        assert len(ranked) == len(expected["ranking"])
        for ours, theirs in zip(ranked, expected["ranking"], strict=True):
            # Compared by score: upstream's order of ties is none that is defined.
            assert ours.score == pytest.approx(theirs["relevance_score"], abs=TOLERANCE)
            assert ours.score == pytest.approx(wanted[ours.index], abs=TOLERANCE)


def test_rerank_chunks(model: Callable[..., Ranker], cases: Cases) -> None:
    for case in cases_of(cases, "rerank"):
        if "raises" in case["expected"]:
            continue
        engine = model(**rerank_settings(case)).engine
        lists = CandidateLists.from_texts(case["query"], case["documents"])
        sequences, readouts = engine.run(lists, engine.reranker.encode(lists))
        documents = case["expected"]["documents"]
        lengths = [n for document in documents for n in document["chunk_input_lengths"]]
        assert sequences.lengths.tolist() == lengths, case["case"]
        edges = [edge for document in documents for edge in document["chunk_edge_ids"]]
        ids = split(sequences)
        assert [[chunk[:3], chunk[-4:]] for chunk in ids] == edges, case["case"]
        scores = [score for document in documents for score in document["chunk_scores"]]
        np.testing.assert_allclose(
            sigmoid(readouts.values[:, 0]), scores, atol=TOLERANCE, rtol=0, err_msg=case["case"]
        )


def test_where_rerank_raises(model: Callable[..., Ranker], cases: Cases) -> None:
    """Wrong lengths are refused as upstream does; empty documents are scored, unlike upstream."""
    raising = [case for case in cases_of(cases, "rerank") if "raises" in case["expected"]]
    assert {case["case"] for case in raising} == {
        "empty_document",
        "whitespace_document",
        "bad_lengths",
    }
    for case in raising:
        if case["expected"]["raises"] == "AssertionError":
            with pytest.raises(ConfigurationError, match="set max_query_length to 50 or less"):
                model(**rerank_settings(case))
            continue
        got = model(**rerank_settings(case)).score(case["query"], case["documents"])
        as_pairs = model(long_documents="truncate").score(case["query"], case["documents"])
        np.testing.assert_allclose(got, as_pairs, atol=1e-6)
        assert np.isfinite(got).all()


def test_an_empty_document_is_the_empty_pair(
    model: Callable[..., Ranker], cases: Cases, pair_lists: PairLists
) -> None:
    case = next(c for c in cases(NAME) if c["case"] == "empty_doc_and_empty_query")
    ranker = model()
    np.testing.assert_allclose(
        ranker.score_lists(pair_lists(case["pairs"])), case["expected"]["scores"], atol=TOLERANCE
    )
    sequences = ranker.engine.reranker.encode(CandidateLists.from_texts("", [""]))
    assert sequences.token_ids.tolist() == [0, 2, 2, 2]  # <s> </s></s> </s>


def test_defaults_are_reranks() -> None:
    assert JinaV2Settings().model_dump() == {
        "max_length": 1024,
        "max_query_length": 512,
        "overlap": 80,
        "long_documents": "chunk",
        "chunk_aggregate": "max",
        "top_k": 3,
        "activation": "sigmoid",
        "special_tokens": "upstream",
    }


def test_the_query_is_limited_in_rerank_only(model: Callable[..., Ranker]) -> None:
    lists = CandidateLists.from_texts(LONG, ["short"])
    chunked = split(model().engine.reranker.encode(lists))[0]
    assert chunked.index(2) == 511  # <s>, 510 tokens, </s>
    whole = split(model(long_documents="truncate").engine.reranker.encode(lists))[0]
    assert len(whole) == 1024


def test_chunks_and_truncation_differ_where_a_document_is_long(
    model: Callable[..., Ranker],
) -> None:
    document = "n " * 1500 + LONG
    chunked, cut = (model(long_documents=p).score(QUERY, [document]) for p in ("chunk", "truncate"))
    assert abs(chunked - cut)[0] > 1e-3


def test_scores_are_float32_probabilities_even_of_a_bfloat16_body(
    model: Callable[..., Ranker],
) -> None:
    documents = [f"{word} aloe" for word in ("Organic", "skincare", "for", "sensitive", "skin")]
    engine = model(dtype="bfloat16").engine
    lists = CandidateLists.from_texts(QUERY, documents)
    sequences, readouts = engine.run(lists, engine.reranker.encode(lists))
    logits = readouts.values
    coarse = logits.view(np.uint32) & 0xFFFF == 0
    assert not coarse.all(), "the head ran in bfloat16"
    np.testing.assert_array_equal(
        engine.reranker.decode(lists, sequences, logits), sigmoid(logits[:, 0])
    )


def test_logits_on_request(model: Callable[..., Ranker]) -> None:
    plain, raw = model(), model(activation="none")
    assert (plain.score_scale, raw.score_scale) == ("probability", "logit")
    documents = ["aloe vera", LONG * 3]
    np.testing.assert_allclose(
        sigmoid(raw.score(QUERY, documents)), plain.score(QUERY, documents), atol=1e-6
    )


def test_a_mean_is_one_of_probabilities(goldens: Path) -> None:
    settings = JinaV2Settings(chunk_aggregate="mean_top_k", top_k=2)
    reranker = JinaV2(checkpoint=Checkpoint(goldens / NAME), settings=settings)
    lists = CandidateLists.from_texts(QUERY, [LONG * 4, "short"])
    sequences = reranker.encode(lists)
    count = len(sequences)
    logits = np.linspace(-4, 6, count, dtype=np.float32)[:, None]
    got = reranker.decode(lists, sequences, logits)
    chances = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    np.testing.assert_allclose(got, [chances[-3:-1].mean(), chances[-1]], atol=1e-6)


def test_a_chunk_without_a_score_leaves_none_to_its_document(goldens: Path) -> None:
    reranker = JinaV2(checkpoint=Checkpoint(goldens / NAME), settings=JinaV2Settings())
    lists = CandidateLists.from_texts(QUERY, [LONG * 3, "short"])
    sequences = reranker.encode(lists)
    readouts = np.zeros((len(sequences), 1), dtype=np.float32)
    readouts[0] = np.nan
    got = reranker.decode(lists, sequences, readouts)
    assert np.isnan(got[0])
    assert got[1] == 0.5


def test_what_was_read_is_told(model: Callable[..., Ranker]) -> None:
    lists = CandidateLists.from_texts(QUERY, ["short", LONG * 3])
    chunked = model().engine.reranker.encode(lists)
    assert chunked.links["n_tokens"].tolist() == [chunked.lengths[0], chunked.lengths[1:].sum()]
    assert chunked.links["truncated"].tolist() == [0, 0]
    for policy in ("truncate", "head_tail"):
        cut = model(long_documents=policy).engine.reranker.encode(lists)
        assert cut.links["n_tokens"].tolist() == [chunked.lengths[0], 1024]
        assert cut.links["truncated"].tolist() == [0, 1]


def test_batches_do_not_move_scores(model: Callable[..., Ranker]) -> None:
    documents = ["aloe", LONG * 2, "", "vera " * 90, "before <pad> after", LONG * 4]
    alone = np.concatenate([model(token_budget=1).score(QUERY, [text]) for text in documents])
    for budget in (1, 3000, 10**6):
        together = model(token_budget=budget).score(QUERY, documents[::-1])[::-1]
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_no_documents(model: Callable[..., Ranker]) -> None:
    assert model().score(QUERY, []).tolist() == []


def test_the_model_cards_overlap_is_not_swallowed(model: Callable[..., Ranker]) -> None:
    with pytest.raises(ConfigurationError, match=r"overlap_tokens.*overlap"):
        model(overlap_tokens=40)


def test_more_than_the_models_positions_is_refused(model: Callable[..., Ranker]) -> None:
    with pytest.raises(ConfigurationError, match="1024 positions"):
        model(max_length=1025)


def test_another_network_is_refused(goldens: Path) -> None:
    settings = JinaV2Settings()
    with pytest.raises(ModelError, match=r"position_embedding_type 'alibi'.*jina_v1"):
        JinaV2(checkpoint=Checkpoint(goldens / "jina-reranker-v1-tiny-tiny"), settings=settings)


def split(sequences: Sequences) -> list[list[int]]:
    ends = zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    return [sequences.token_ids[start:end].tolist() for start, end in ends]
