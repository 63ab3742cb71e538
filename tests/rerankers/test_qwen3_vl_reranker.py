"""Qwen3-VL-Reranker against the vendor's published steps over transformers' network."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import api, schema
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reasons import IMAGE_FETCH
from pipeline.checkpoints import cards
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.detection import family_of
from pipeline.engine.scoring import Scoreable, document_scores
from pipeline.errors import ModelError
from pipeline.prompts.qwen2_vl import DOCUMENT
from pipeline.rerankers.qwen3_vl_reranker import HEAD, INSTRUCTION, TAIL
from tests.rerankers.golden_work import GOLDENS, GoldenWork, golden_work, sides

GOLDEN = GOLDENS / "qwen3-vl-reranker-tiny"
CASES = [json.loads(line) for line in (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines()]
BY_ID = {case["id"]: case for case in CASES}
BASE = {"images": {"base": str(GOLDEN)}}


@cache
def works() -> tuple[GoldenWork, ...]:
    return tuple(golden_work(GOLDEN.name))


def load(folder: Path = GOLDEN, **options: Any) -> api.Ranker:
    chosen = BASE | options
    return api.load(
        str(folder), family="qwen3_vl_reranker", dtype="float32", device="cpu", **chosen
    )


def copied(folder: Path, **changes: Any) -> Path:
    """The golden with another config.json."""
    copy = shutil.copytree(GOLDEN, folder / "model")
    config = json.loads((copy / "config.json").read_text("utf-8")) | changes
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("budget", [1, 600, 60_000])
def test_scores_are_those_of_the_vendors_steps(packing: str, budget: int) -> None:
    for work in works():
        one = load(packing=packing, token_budget=budget, **work.settings)
        np.testing.assert_allclose(one.score_lists(work.lists), work.scores, rtol=0, atol=1e-4)


def test_a_beginning_that_is_not_shared_gives_the_same_scores() -> None:
    work = works()[0]
    one = load(share_prefixes=False, **work.settings)
    np.testing.assert_allclose(one.score_lists(work.lists), work.scores, rtol=0, atol=1e-4)


def test_the_score_is_the_probability_of_yes_unless_its_logit_is_asked_for() -> None:
    case = BY_ID["many"]
    texts = [document["text"] for document in case["documents"]]
    scores = load().score(case["query"]["text"], texts)
    expected = 1 / (1 + np.exp(-np.array(case["expected"]["logits"])))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert load().score_scale == "probability"
    assert load(activation="none").score_scale == "logit"


@pytest.mark.parametrize("case", CASES, ids=list(BY_ID))
def test_ids_are_those_of_the_vendors_steps(case: dict[str, Any]) -> None:
    one = load(**case["kwargs"])
    sequences = one.engine.reranker.encode(sides(case)).unshared()
    assert sequences.links[DOCUMENT].tolist() == list(range(len(case["documents"])))
    ids = np.split(sequences.token_ids, sequences.offsets[1:-1])
    found = [hashlib.sha256(json.dumps(one.tolist()).encode()).hexdigest() for one in ids]
    assert found == case["expected"]["input_ids_sha256"]
    assert sequences.links[schema.N_TOKENS].tolist() == case["expected"]["n_tokens"]
    cut = np.array(case["expected"]["n_tokens"]) > case["kwargs"].get("max_length", 8192)
    assert sequences.links[schema.TRUNCATED][cut].all()


NASTY = [
    *("<|im_end|>", "<|endoftext|>", "<think>", "\n", "\r\n", " ", "\t", "\u00a0", ":", "<", ">"),
    *("'s", '">', "42", "a", "e\u0301", "\u0338", "\u7eff", "\U0001f469\u200d\U0001f467", "\x00"),
]
TEXTS = st.lists(st.sampled_from(NASTY), max_size=6).map("".join)


@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=150)
def test_pieces_tokenise_as_the_whole_prompt_does(
    instruction: str, query: str, document: str
) -> None:
    family: Any = type(reranker())
    own = family(
        checkpoint=reranker().checkpoint, settings=family.Settings(instruction=instruction)
    )
    ids = own.encode(CandidateLists.from_texts(query, [document])).unshared().token_ids
    body = f"<Instruct>: {instruction}<Query>:{query or 'NULL'}\n<Document>:{document or 'NULL'}"
    whole = own.tokenizer.library.encode(f"{HEAD}{body}{TAIL}", add_special_tokens=False).ids
    assert ids.tolist() == whole


@cache
def reranker() -> Any:
    return load().engine.reranker


def test_an_image_that_cannot_be_used_rejects_its_document_alone() -> None:
    case = BY_ID["texts_and_images"]
    documents = [*case["documents"][:2], {"image": "images/none.png", "text": "tea"}]
    one = load(activation="none")
    lists = sides({"query": case["query"], "documents": documents})
    scoreable = Scoreable.of(lists, one.engine.reranker)
    sequences, readouts = one.engine.run(
        scoreable.lists, one.engine.reranker.encode(scoreable.lists)
    )
    scores, codes = document_scores(one.engine.reranker, scoreable.lists, sequences, readouts)
    np.testing.assert_allclose(scores[:2], case["expected"]["logits"][:2], rtol=0, atol=1e-4)
    assert codes.tolist() == [None, None, IMAGE_FETCH]


def test_limits_of_pixels_are_those_of_the_file_unless_set() -> None:
    assert (reranker().size.min_pixels, reranker().size.max_pixels) == (4096, 20480)
    size = load(max_pixels=1_310_720).engine.reranker.size  # type: ignore[attr-defined]
    assert (size.factor, size.min_pixels, size.max_pixels) == (32, 4096, 1_310_720)


def test_the_answers_are_those_of_the_logit_score(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    file = folder / "1_LogitScore" / "config.json"
    said = json.loads(file.read_text("utf-8"))
    turned = {"true_token_id": said["false_token_id"], "false_token_id": said["true_token_id"]}
    file.write_text(json.dumps(turned), "utf-8")
    expected = load(activation="none").score("tea", ["green tea", "train"])
    np.testing.assert_allclose(
        load(folder, activation="none").score("tea", ["green tea", "train"]), -expected, atol=1e-5
    )
    (folder / "modules.json").unlink()
    np.testing.assert_allclose(
        load(folder, activation="none").score("tea", ["green tea", "train"]), expected, atol=1e-6
    )


def test_an_output_layer_of_its_own_is_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = json.loads((GOLDEN / "config.json").read_text("utf-8"))
    text = config["text_config"] | {"tie_word_embeddings": False}
    folder = copied(tmp_path, tie_word_embeddings=False, text_config=text)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = -tensors["model.language_model.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors")
    expected = load(activation="none").score("tea", ["green tea", "train"])
    np.testing.assert_allclose(
        load(folder, activation="none").score("tea", ["green tea", "train"]), -expected, atol=1e-5
    )


@pytest.mark.parametrize("name", ["visual.deepstack_merger_list.0.norm.weight", "visual.pos_embed"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors = {key: tensor for key, tensor in tensors.items() if name not in key}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"missing tensor 'model.{name}"):
        load(folder)


def test_features_for_every_layer_of_the_text_run_padded_alone(tmp_path: Path) -> None:
    config = json.loads((GOLDEN / "config.json").read_text("utf-8"))
    vision = config["vision_config"] | {"deepstack_visual_indexes": [0, 1, 1, 1]}
    with pytest.raises(ModelError, match=r"deepstack_visual_indexes has 4 layers.*padded"):
        load(copied(tmp_path, vision_config=vision), packing="packed")


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model_type 'qwen2_vl', expected 'qwen3_vl'"):
        load(copied(tmp_path, model_type="qwen2_vl"))


def test_a_path_needs_a_logit_score_to_be_told_from_a_chat_model(tmp_path: Path) -> None:
    assert family_of(Checkpoint(GOLDEN))[0] == "qwen3_vl_reranker"
    folder = copied(tmp_path)
    for name in ("modules.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"a chat model or a reranker.*qwen3_vl_reranker"):
        family_of(Checkpoint(folder))


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_the_cards(size: str) -> None:
    card = cards.read(f"qwen3-vl-reranker-{size}")
    assert (card.family, card.score_scale) == ("qwen3_vl_reranker", load().score_scale)
    assert card.settings == {"min_pixels": 4096, "max_pixels": 1_310_720}
    assert reranker().settings.instruction == INSTRUCTION
