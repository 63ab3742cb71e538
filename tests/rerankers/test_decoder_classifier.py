"""Decoders with a classification head against transformers and sentence-transformers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pipeline.api import Ranker, load
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.pairs import sigmoid
from pipeline.rerankers.qwen3_reranker import INSTRUCTION, PREFIX, SUFFIX
from tests.fixtures_runs import Rerank, ranked
from tests.makers import write

DOCS = Path(__file__).parents[2] / "docs" / "checkpoints.md"
GOLDEN = "qwen3-seq-cls-tiny"
PADDING = "<|endoftext|>"
QUERY = "what helps dry skin"
DOCUMENTS = [
    "creams with aloe keep the skin from drying out",
    "trains",
    "",
    "粗い紙 🍵",
    "aloe " * 90,
]
PAIRS = [(query, text) for query in (QUERY, "how do trains keep time?") for text in DOCUMENTS]

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]


def ranker(folder: Path, **settings: Any) -> Ranker:
    """By its place alone: the files say which family it is."""
    found = load(str(folder), device="cpu", dtype="float32", **settings)
    assert type(found.engine.reranker).__name__ == "DecoderClassifier"
    return found


def scores(folder: Path, **settings: Any) -> np.ndarray[Any, Any]:
    model = ranker(folder, **settings)
    return np.concatenate([model.score(query, [text]) for query, text in PAIRS])


def copied(source: Path, folder: Path, **config: Any) -> Path:
    shutil.copytree(source, folder)
    values = json.loads((folder / "config.json").read_text("utf-8")) | config
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("packing", "share"), [("packed", True), ("packed", False), ("padded", False)]
)
def test_golden(
    goldens: Path, cases: Cases, pair_lists: PairLists, packing: str, share: bool
) -> None:
    """A checkpoint that names no padding, with upstream's padded on either side."""
    for case in cases(GOLDEN):
        how = {"packing": packing, "share_prefixes": share, "max_length": case["max_length"]}
        model, lists = ranker(goldens / GOLDEN, **how), pair_lists(case["pairs"])
        expected = case["expected"]
        sequences = model.engine.reranker.encode(lists).unshared()
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        assert sequences.token_ids[: sequences.offsets[1]].tolist() == expected["first_input_ids"]
        np.testing.assert_allclose(
            model.score_lists(lists), expected["logits"], rtol=0, atol=1e-4, err_msg=case["case"]
        )
        assert model.score_scale == "logit"


def test_documents_of_a_query_share_it(goldens: Path) -> None:
    encode = ranker(goldens / GOLDEN).engine.reranker.encode
    query = encode(CandidateLists.from_texts(QUERY, [""])).lengths[0]
    sequences = encode(CandidateLists.from_texts(QUERY, DOCUMENTS))
    assert sequences.parents is not None
    assert sequences.lengths[-1] == query
    assert sequences.leaves == len(DOCUMENTS)


#: Bodies, and a golden whose tokenizer they are given: one without special tokens, one with <s>.
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen2": (GOLDEN, {"num_labels": 2}),
    "Mistral": ("llama-nemotron-rerank-tiny", {"sliding_window": 8}),
    "Llama": ("llama-nemotron-rerank-tiny", {"num_labels": 2}),
    "Gemma": ("llama-nemotron-rerank-tiny", {"head_dim": 16}),
    "Gemma2": (GOLDEN, {"sliding_window": 8, "head_dim": 16, "attn_logit_softcapping": 5.0}),
    "Gemma3Text": (GOLDEN, {"sliding_window": 8, "head_dim": 16, "query_pre_attn_scalar": 16}),
}


def made(goldens: Path, folder: Path, body: str) -> Any:
    """A checkpoint as transformers saves it, and its network."""
    import transformers

    tokenizer, changes = BODIES[body]
    shutil.copytree(goldens / tokenizer, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(7)
    config = getattr(transformers, f"{body}Config")(
        **{"vocab_size": 1400, "hidden_size": 32, "intermediate_size": 48},
        **{"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2},
        **{"initializer_range": 0.3, "num_labels": 1} | changes,
        pad_token_id=None,
    )
    network = getattr(transformers, f"{body}ForSequenceClassification")(config).eval()
    network.save_pretrained(folder)
    return network


def upstream(network: Any, folder: Path, side: str) -> np.ndarray[Any, Any]:
    """float32 [pairs, labels] of transformers, padded on one side with a token of no text."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    assert tokenizer.pad_token_id < network.config.vocab_size
    network.config.pad_token_id = tokenizer.pad_token_id
    inputs = tokenizer(
        *zip(*PAIRS, strict=True), padding=True, padding_side=side, return_tensors="pt",
        truncation="longest_first", max_length=64,
    )  # fmt: skip
    names = ("input_ids", "attention_mask")
    with torch.inference_mode():
        logits = network(**{name: inputs[name] for name in names}).logits
    return logits.numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize("body", BODIES)
def test_bodies_of_transformers(goldens: Path, tmp_path: Path, body: str) -> None:
    network = made(goldens, tmp_path / "model", body)
    left, right = (upstream(network, tmp_path / "model", side) for side in ("left", "right"))
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-4)
    expected = left[:, 0] if left.shape[1] == 1 else left[:, 1] - left[:, 0]
    assert np.ptp(expected) > 0.1
    for packing in ("auto", "padded"):
        found = scores(tmp_path / "model", max_length=64, packing=packing)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("ends_texts", [False, True])
@pytest.mark.parametrize("query", [QUERY, f"dry skin {PADDING}", PADDING])
def test_what_ends_in_the_padding_is_read_before_it(
    goldens: Path, tmp_path: Path, query: str, ends_texts: bool
) -> None:
    """As transformers does, also where the token that pads is the one that ends every text."""
    from sentence_transformers import CrossEncoder
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(goldens / GOLDEN / "tokenizer.json"))
    number = tokenizer.token_to_id(PADDING)
    folder = copied(goldens / GOLDEN, tmp_path / "model", pad_token_id=number)
    if ends_texts:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {PADDING}", pair=f"$A $B {PADDING}", special_tokens=[(PADDING, number)]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    documents = ["trains", f"creams {PADDING}", PADDING, f"{PADDING} a", "", f"{PADDING}{PADDING}"]
    library = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    assert library.tokenizer.pad_token_id == number
    pairs = [(query, document) for document in documents]
    expected = library.predict(pairs, activation_fn=torch.nn.Identity())
    assert np.ptp(expected) > 0.01
    for how in ({}, {"share_prefixes": False}, {"packing": "padded"}):
        found = ranker(folder, **how).score(query, documents)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=str(how))


def test_a_pair_without_a_token_has_no_score(goldens: Path) -> None:
    for how in ("truncate", "chunk"):
        model = ranker(goldens / GOLDEN, long_documents=how)
        assert np.isnan(model.score("", ["", "a", ""])).tolist() == [True, False, True]


def converted(goldens: Path, folder: Path) -> Path:
    """Qwen3-Reranker with one label: its head is the difference of the answers' rows."""
    source = goldens / "qwen3-reranker-tiny"
    kind = {"architectures": ["Qwen3ForSequenceClassification"], "num_labels": 1}
    copied(source, folder, **kind)
    vocabulary = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    tensors = load_file(source / "model.safetensors")
    rows = (tensors["model.embed_tokens.weight"][vocabulary[word]] for word in ("yes", "no"))
    yes, no = (row.float() for row in rows)
    tensors["score.weight"] = (yes - no)[None]
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_qwen3_reranker_converted_to_one_label(
    goldens: Path, cases: Cases, pair_lists: PairLists, tmp_path: Path
) -> None:
    """With the prompt that it was trained on, scores are those of Qwen3-Reranker's recipe.

    The prompt is the one that docs/checkpoints.md shows.
    """
    folder = converted(goldens, tmp_path / "model")
    shown = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    [documented] = [
        model["settings"]
        for model in (yaml.safe_load(block)["model"] for block in shown)
        if "Qwen3-Reranker" in model.get("name", "")
    ]
    assert documented["instruction"] == INSTRUCTION
    apart = documented["template"]
    assert (apart[0], apart[-1]) == (PREFIX, SUFFIX)
    for case in cases("qwen3-reranker-tiny"):
        lists, expected = pair_lists(case["pairs"][:30]), case["expected"]
        instruction = case["instruction"] or INSTRUCTION
        how = {"instruction": instruction, "max_length": case["max_length"]}
        for template in (apart, "".join(apart)):
            model = ranker(folder, template=template, activation="sigmoid", **how)
            assert model.score_scale == "probability"
            if isinstance(template, str) and max(expected["input_lengths"]) == case["max_length"]:
                continue  # cut at another place
            np.testing.assert_allclose(
                model.score_lists(lists), expected["scores"][:30], rtol=0, atol=1e-4
            )


CHAT = (
    "{% for m in messages %}<|im_start|>{{ {'query': 'Q', 'document': 'D'}.get(m.role, 'I') }}: "
    "{{ m.content }}<|im_end|>\n{% endfor %}<think>\n"
)


@pytest.mark.parametrize("prompt", [None, "Judge it. "])
@pytest.mark.parametrize("chat", [False, True])
def test_what_sentence_transformers_saves(
    goldens: Path, tmp_path: Path, chat: bool, prompt: str | None
) -> None:
    """A pair or a chat template, alone or with the default prompt."""
    from sentence_transformers import CrossEncoder

    padding = {"pad_token_id": 1301}
    folder = copied(goldens / GOLDEN, tmp_path / "model", **padding)
    if chat:
        (folder / "chat_template.jinja").write_text(CHAT)
    given: dict[str, Any] = {} if prompt is None else {"prompts": {"own": prompt}}
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, **given)
    if prompt is not None:
        model.default_prompt_name = "own"
    plain = torch.nn.Identity()
    expected = model.predict(PAIRS, activation_fn=plain)
    model.save_pretrained(str(tmp_path / "saved"))
    np.testing.assert_allclose(scores(tmp_path / "saved"), expected, rtol=0, atol=1e-4)
    library = scores(tmp_path / "saved", activation="checkpoint")
    np.testing.assert_allclose(library, model.predict(PAIRS), rtol=0, atol=1e-5)
    if prompt is None:  # as transformers saves it, the files hold none
        np.testing.assert_allclose(scores(folder), expected, rtol=0, atol=1e-4)
    else:
        given_template = {"template": "{query}: {document}", "instruction": ""}
        pair = scores(tmp_path / "saved", **given_template)  # whatever the files say
        assert np.isfinite(pair).all()
        nothing = scores(tmp_path / "saved", instruction="")
        model.default_prompt_name = None
        without = model.predict(PAIRS, activation_fn=plain)
        np.testing.assert_allclose(nothing, without, rtol=0, atol=1e-4)
        assert np.abs(nothing - expected).max() > 1e-2


def test_a_chat_template_of_its_language_model_is_no_prompt(goldens: Path, tmp_path: Path) -> None:
    folder = copied(goldens / GOLDEN, tmp_path / "model")
    source = "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(source)
    np.testing.assert_array_equal(scores(folder), scores(goldens / GOLDEN))


def test_a_run_by_the_place_alone(
    rerank_in_process: Rerank, goldens: Path, cases: Cases, tmp_path: Path
) -> None:
    case = next(case for case in cases(GOLDEN) if case["case"] == "several_queries")
    queries = list(dict.fromkeys(query for query, _ in case["pairs"]))
    rows = [
        {"query_id": str(queries.index(query)), "query": query, "doc_id": f"{n:03d}", "text": text}
        for n, (query, text) in enumerate(case["pairs"])
    ]
    path = write(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    found = ranked(rerank_in_process(path, model={"name": str(goldens / GOLDEN)}))
    told = dict(zip(*(found.column(name).to_pylist() for name in ("doc_id", "score")), strict=True))
    written = [told[row["doc_id"]] for row in rows]
    np.testing.assert_allclose(written, case["expected"]["logits"], rtol=0, atol=1e-4)


def test_the_sigmoid_of_a_logit(goldens: Path) -> None:
    logits = scores(goldens / GOLDEN)
    probabilities = scores(goldens / GOLDEN, activation="sigmoid")
    np.testing.assert_allclose(probabilities, sigmoid(logits), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "phi3", "architectures": []}, "model_type 'phi3' is not one of"),
        ({"auto_map": {"AutoModel": "m.Own"}}, "code of its own"),
        ({"is_causal": False}, "is_causal False: every token sees what follows"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "use_bidirectional"),
        ({"num_labels": 3, "id2label": None}, "has 3 labels, but by|the head has"),
    ],
)
def test_networks_of_others_are_refused(
    goldens: Path, tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    folder = copied(goldens / GOLDEN, tmp_path / "model", **config)
    with pytest.raises(ModelError, match=told):
        load(str(folder), family="decoder_classifier", device="cpu")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"template": "{query} {document} {instruction}"}, "has a place for one, and none"),
        ({"template": "{query}{document}", "instruction": "x"}, "has no place {instruction}"),
        ({"template": "{document}"}, "{query} is there 0 times"),
        ({"template": f"{'a b ' * 30}{{query}}{{document}}", "max_length": 20}, "leaves no room"),
        ({"add_special_tokens": True}, "with model.settings.template only"),
        ({"template": "{query}{document}", "truncation": "document"}, "truncation"),
        ({"max_length": 50_000}, "positions"),
        ({"grades": [0, 1]}, "grades"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    goldens: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load(str(goldens / GOLDEN), device="cpu", **settings)
