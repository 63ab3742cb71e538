"""NVIDIA's bidirectional Llama against transformers' network and the published prompt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from pipeline.api import Ranker, load
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.pairs import sigmoid
from tests.fixtures_runs import Rerank, ranked
from tests.makers import write

GOLDEN = "llama-nemotron-rerank-tiny"
FOLDER = Path(__file__).parents[1] / "goldens" / GOLDEN
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
QUERY, LONG = "what helps dry skin", "aloe cream " * 200

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]


def ranker(folder: Path = FOLDER, **settings: Any) -> Ranker:
    """By its place alone: the files say which family it is."""
    found = load(str(folder), device="cpu", dtype="float32", **settings)
    assert type(found.engine.reranker).__name__ == "BidirectionalDecoder"
    return found


def copied(folder: Path, **config: Any) -> Path:
    shutil.copytree(FOLDER, folder)
    values = json.loads((folder / "config.json").read_text("utf-8")) | config
    kept = {name: value for name, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept), "utf-8")
    return folder


@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_golden(cases: Cases, pair_lists: PairLists, packing: str) -> None:
    for case in cases(GOLDEN):
        model = ranker(packing=packing, max_length=case["max_length"])
        assert model.engine.reranker.packed == (packing == "packed")
        lists, expected = pair_lists(case["pairs"]), case["expected"]
        sequences = model.engine.reranker.encode(lists)
        assert sequences.parents is None
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        assert sequences.token_ids[: sequences.offsets[1]].tolist() == expected["first_input_ids"]
        np.testing.assert_allclose(
            model.score_lists(lists), expected["logits"], rtol=0, atol=1e-4, err_msg=case["case"]
        )


@given(query=st.text(max_size=40), document=st.text(max_size=80))
def test_splitting_the_prompt_before_its_colon_changes_no_id(query: str, document: str) -> None:
    def ids(text: str) -> list[int]:
        return list(TOKENIZER.encode(text, add_special_tokens=False).ids)

    head, tail = f"question:{query} \n \n passage", f":{document}"
    assert ids(head) + ids(tail) == ids(head + tail)


def test_a_run_by_the_place_alone(rerank_in_process: Rerank, cases: Cases, tmp_path: Path) -> None:
    case = next(case for case in cases(GOLDEN) if case["case"] == "forty_candidates")
    rows = [
        {"query_id": "q", "query": query, "doc_id": f"{n:03d}", "text": text}
        for n, (query, text) in enumerate(case["pairs"])
    ]
    path = write(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    found = ranked(rerank_in_process(path, model={"name": str(FOLDER)})).sort_by("doc_id")
    scores = found.column("score").to_numpy()
    np.testing.assert_allclose(scores, case["expected"]["logits"], rtol=0, atol=1e-4)


def test_the_temperature_divides_logits(tmp_path: Path) -> None:
    documents = ["creams with aloe", "", LONG]
    scores = ranker(max_length=64).score(QUERY, documents)
    plain = ranker(copied(tmp_path / "model", temperature=None), max_length=64)
    np.testing.assert_allclose(plain.score(QUERY, documents), 2 * scores, rtol=0, atol=1e-5)
    squashed = ranker(activation="sigmoid", max_length=64)
    assert (plain.score_scale, squashed.score_scale) == ("logit", "probability")
    np.testing.assert_allclose(squashed.score(QUERY, documents), sigmoid(scores), atol=1e-6)


def test_every_token_sees_what_follows(tmp_path: Path) -> None:
    """The network's causal twin gives other scores."""
    folder = copied(
        tmp_path / "model",
        architectures=["LlamaForSequenceClassification"],
        model_type="llama",
        auto_map=None,
    )
    twin = load(str(folder), template="question:{query} \n \n passage:{document}", device="cpu")
    documents = ["creams with aloe", "trains"]
    assert np.abs(twin.score(QUERY, documents) - ranker().score(QUERY, documents)).min() > 1e-3


def test_long_documents_in_chunks() -> None:
    chunked = ranker(max_length=64, long_documents="chunk")
    lists = CandidateLists.from_texts(QUERY, [LONG, "short"])
    sequences = chunked.engine.reranker.encode(lists)
    assert len(sequences) > 3
    assert sequences.lengths.max() == 64
    alone = ranker(max_length=64).score(QUERY, ["short"])
    np.testing.assert_allclose(chunked.score_lists(lists)[1:], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"pooling": "cls"}, "pooling 'cls'.*takes the mean"),
        ({"temperature": 0}, "temperature is 0, expected a number above 0"),
        ({"model_type": "qwen3"}, "model_type 'qwen3'.*runs llama_bidirec"),
        ({"num_labels": 2, "id2label": None}, "labels"),
        ({"hidden_size": 48}, "has shape"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        ranker(copied(tmp_path / "model", **config))


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.pooler.weight"] = tensors["score.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"unexpected tensor 'model\.pooler\.weight'"):
        ranker(folder)


def test_no_room_for_more_than_the_model_has() -> None:
    with pytest.raises(ConfigurationError, match="positions"):
        ranker(max_length=200_000)
