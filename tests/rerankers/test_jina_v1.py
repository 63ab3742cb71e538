"""JinaBERT against upstream's modelling code, and the choices that its copies disagree about."""

from __future__ import annotations

import json
import shutil
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
from pipeline.rerankers.jina_v1 import JinaV1, JinaV1Settings

#: Two published shapes, and reglu with a BERT tokenizer and a power of two of heads.
NAMES = ("jina-reranker-v1-tiny-tiny", "jina-reranker-v1-turbo-tiny", "jinabert-variants-tiny")
ROBERTA, _, BERT = NAMES
TOLERANCE = 1e-4
QUERY = "Organic skincare products for sensitive skin"
LONG = "Eco-friendly aloe vera and chamomile, measured twice. " * 60

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]


@pytest.fixture(scope="module")
def model(goldens: Path) -> Callable[..., Ranker]:
    def build(name: str = ROBERTA, **settings: Any) -> Ranker:
        return load(str(goldens / name), family="jina_v1", device="cpu", **settings)

    return build


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_compute_score(
    model: Callable[..., Ranker], cases: Cases, pair_lists: PairLists, name: str, packing: str
) -> None:
    for case in cases(name):
        ranker = model(name, max_length=case["max_length"], packing=packing)
        lists = pair_lists(case["pairs"])
        sequences = ranker.engine.reranker.encode(lists)
        expected = case["expected"]
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        first = expected["first_input_ids"]
        assert sequences.token_ids[: sequences.lengths[0]][: len(first)].tolist() == first
        np.testing.assert_allclose(
            ranker.score_lists(lists),
            np.atleast_1d(expected["scores"]),
            atol=TOLERANCE,
            rtol=0,
            err_msg=case["case"],
        )


def test_slopes() -> None:
    from pipeline.networks.encoders.alibi import slopes

    assert slopes(8) == [2**-k for k in range(1, 9)]
    powers = [-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5]
    assert slopes(12) == pytest.approx([2**power for power in powers])


@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_the_bias_is_symmetric_and_made_in_blocks(
    model: Callable[..., Ranker], monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    from pipeline.networks.encoders import alibi

    documents = ["aloe vera", LONG[:400], "chamomile " * 30]
    whole = model(packing=packing).score(QUERY, documents)
    monkeypatch.setattr(alibi, "_BIAS_ELEMENTS", 12 * 300 * 7)
    some = model(packing=packing).score(QUERY, documents)
    np.testing.assert_allclose(some, whole, atol=1e-6)
    made = bias(width=5, is_token=None)
    np.testing.assert_array_equal(made, np.swapaxes(made, 2, 3))
    assert made[0, 0, 1].tolist() == [-0.5, 0, -0.5, -1, -1.5]


def bias(*, width: int, is_token: Any) -> np.ndarray:
    import torch

    from pipeline.networks.encoders.alibi import Bias, slopes

    made = Bias(torch.tensor(slopes(2**3)), width=width, is_token=is_token, dtype=torch.float32)
    return made.rows(0, width).numpy()


def test_no_bias_of_the_longest_input_is_kept(model: Callable[..., Ranker]) -> None:
    """Upstream holds [heads, 8192, 8192], gigabytes whatever the input."""
    network = model().engine.reranker.network  # type: ignore[attr-defined]
    assert sum(buffer.numel() for buffer in network.buffers()) == 12


def test_the_limit_is_the_networks_not_the_tokenizers(
    model: Callable[..., Ranker], goldens: Path
) -> None:
    config = Checkpoint(goldens / ROBERTA).json("tokenizer_config.json")
    assert config["model_max_length"] == 512
    sequences = model().engine.reranker.encode(CandidateLists.from_texts(QUERY, [LONG * 20]))
    assert sequences.lengths.tolist() == [8192]
    with pytest.raises(ConfigurationError, match="8192 positions"):
        model(max_length=8193)


def test_token_types_are_those_of_the_tokenizer(model: Callable[..., Ranker]) -> None:
    lists = CandidateLists.from_texts("one", ["two two"])
    of_roberta = model(ROBERTA).engine.reranker.encode(lists).segment_ids
    of_bert = model(BERT).engine.reranker.encode(lists).segment_ids
    assert of_roberta is not None
    assert of_bert is not None
    assert set(of_roberta.tolist()) == {0}
    assert set(of_bert.tolist()) == {0, 1}
    assert np.all(np.diff(of_bert) >= 0)


def test_texts_are_not_stripped(model: Callable[..., Ranker]) -> None:
    """The tokenizer is byte-level: a leading space is part of a word."""
    encode = model().engine.reranker.encode
    ids = [encode(CandidateLists.from_texts(QUERY, [text])).token_ids for text in ("a", " a")]
    assert ids[0].tolist() != ids[1].tolist()


def test_probabilities_unless_logits_are_asked_for(model: Callable[..., Ranker]) -> None:
    plain, raw = model(), model(activation="none")
    assert (plain.score_scale, raw.score_scale) == ("probability", "logit")
    documents = ["aloe vera", LONG]
    np.testing.assert_allclose(
        sigmoid(raw.score(QUERY, documents)), plain.score(QUERY, documents), atol=1e-6
    )


def test_the_head_runs_in_float32(model: Callable[..., Ranker]) -> None:
    documents = [f"{word} aloe" for word in ("Organic", "skincare", "for", "sensitive", "skin")]
    logits = model(dtype="bfloat16", activation="none").score(QUERY, documents)
    assert not np.all(logits.view(np.uint32) & 0xFFFF == 0)
    full = model(activation="none").score(QUERY, documents)
    assert np.abs(logits - full).max() < 0.2


@pytest.mark.parametrize("policy", ["truncate", "head_tail", "chunk"])
def test_long_documents(model: Callable[..., Ranker], policy: str) -> None:
    ranker = model(max_length=128, long_documents=policy, chunk_overlap=10)
    lists = CandidateLists.from_texts(QUERY, ["short", LONG])
    sequences = ranker.engine.reranker.encode(lists)
    assert sequences.links["truncated"].tolist() == [0, int(policy != "chunk")]
    assert sequences.lengths[1:].tolist() == [128] * (len(sequences) - 1)
    assert sequences.links["n_tokens"].sum() == sequences.lengths.sum()
    assert np.isfinite(ranker.score(QUERY, ["short", LONG])).all()


def test_batches_do_not_move_scores(model: Callable[..., Ranker]) -> None:
    documents = ["aloe", LONG, "", "vera " * 90, "before <pad> after </s> end"]
    alone = np.concatenate([model(token_budget=1).score(QUERY, [text]) for text in documents])
    for budget in (1, 1000, 10**6):
        together = model(token_budget=budget).score(QUERY, documents[::-1])[::-1]
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_the_other_jinabert_is_refused(goldens: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(goldens / ROBERTA, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    old = "bert.encoder.layer.0.mlp.gated_layers.weight"
    tensors[old.replace("gated_layers", "up_gated_layer")] = tensors.pop(old)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"up_gated_layer.*qk-post-norm"):
        load(str(folder), family="jina_v1", device="cpu")


@pytest.mark.parametrize(
    ("key", "value"), [("position_embedding_type", "absolute"), ("feed_forward_type", "original")]
)
def test_other_networks_are_refused(goldens: Path, tmp_path: Path, key: str, value: str) -> None:
    folder = shutil.copytree(goldens / ROBERTA, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    with pytest.raises(ModelError, match=f"{key} '{value}'"):
        JinaV1(checkpoint=Checkpoint(folder), settings=JinaV1Settings())
