from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError, ModelError
from pipeline.rerankers.qwen3_reranker import INSTRUCTION, PREFIX, SUFFIX, body_head

GOLDEN = Path(__file__).parents[1] / "goldens" / "qwen3-reranker-tiny"
CASES = [json.loads(line) for line in (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines()]
LARGE = next(case for case in CASES if case["case"] == "candidates_200")

Pairs = list[list[str]]


def load(folder: Path = GOLDEN, budget: int | None = None, **settings: Any) -> api.Ranker:
    return api.load(
        str(folder),
        family="qwen3_reranker",
        device="cpu",
        dtype="float32",
        token_budget=budget,
        **settings,
    )


def settings_of(case: dict[str, Any]) -> dict[str, Any]:
    asked = {"instruction": case["instruction"]} if case["instruction"] else {}
    return {"max_length": case["max_length"], **asked}


def lists_of(pairs: Pairs) -> CandidateLists:
    """Every pair a list of its own, all in one unit."""
    single = [CandidateLists.from_texts(query, [document]) for query, document in pairs]
    return CandidateLists(
        queries=pa.concat_tables([one.queries for one in single]),
        offsets=np.arange(len(pairs) + 1, dtype=np.int64),
        documents=pa.concat_tables([one.documents for one in single]),
    )


def copied(folder: Path, **config: Any) -> Path:
    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    data = json.loads((folder / "config.json").read_text("utf-8")) | config
    (folder / "config.json").write_text(json.dumps(data), "utf-8")
    return folder


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def save(folder: Path, weights: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
    )


@pytest.fixture(scope="module")
def ranker() -> api.Ranker:
    return load()


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_golden(case: dict[str, Any]) -> None:
    ranker, expected = load(**settings_of(case)), case["expected"]
    lists = lists_of(case["pairs"])
    np.testing.assert_allclose(ranker.score_lists(lists), expected["scores"], rtol=0, atol=1e-4)
    sequences = ranker.engine.reranker.encode(lists).unshared()
    assert sequences.lengths.tolist() == expected["input_lengths"]
    assert sequences.token_ids[: sequences.offsets[1]].tolist() == expected["first_input_ids"]
    assert sequences.links["n_tokens"].tolist() == expected["input_lengths"]
    assert ranker.score_scale == "probability"


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
@pytest.mark.parametrize(
    ("packing", "share"), [("packed", True), ("packed", False), ("padded", False)]
)
def test_golden_logits(case: dict[str, Any], packing: str, share: bool) -> None:
    how = {"packing": packing, "share_prefixes": share, "activation": "none"}
    ranker, expected = load(**settings_of(case), **how), case["expected"]
    log_odds = np.subtract(expected["yes_logits"], expected["no_logits"])
    scores = ranker.score_lists(lists_of(case["pairs"]))
    np.testing.assert_allclose(scores, log_odds, rtol=0, atol=1e-4)
    assert ranker.score_scale == "logit"


@pytest.mark.parametrize("budget", [1, 2_000, 30_000])
def test_neighbours_do_not_move_scores(ranker: api.Ranker, budget: int) -> None:
    pairs = LARGE["pairs"][:60]
    whole = ranker.score_lists(lists_of(pairs))
    other = load(budget=budget).score_lists(lists_of(pairs[::-1]))[::-1]
    np.testing.assert_allclose(other, whole, rtol=0, atol=1e-5)


def test_one_list_scores_as_many(ranker: api.Ranker) -> None:
    query = LARGE["pairs"][0][0]
    documents = [document for asked, document in LARGE["pairs"] if asked == query][:20]
    together = ranker.score(query, documents)
    apart = ranker.score_lists(lists_of([[query, document] for document in documents]))
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5)


def test_answers_are_plain_yes_and_no(ranker: api.Ranker) -> None:
    reranker: Any = ranker.engine.reranker
    vocabulary = reranker.tokenizer.library.get_vocab()
    assert (reranker.yes, reranker.no) == (vocabulary["yes"], vocabulary["no"])
    query, document = CASES[0]["pairs"][0]
    expected = CASES[0]["expected"]["scores"][0]
    for yes, no in [("no", "yes"), ("True", "False"), ("Yes", "No"), ("\u0120yes", "\u0120no")]:
        if yes in vocabulary and no in vocabulary:
            other: Any = load()
            reranker = other.engine.reranker
            reranker.yes, reranker.no = vocabulary[yes], vocabulary[no]
            from torch import device, float32

            reranker.load(device=device("cpu"), dtype=float32, packed=reranker.packed)
            assert abs(other.score(query, [document])[0] - expected) > 1e-3, (yes, no)


def test_the_prompt_has_no_blank_lines_between_its_parts(ranker: api.Ranker) -> None:
    query, document = CASES[0]["pairs"][0]
    sequences = ranker.engine.reranker.encode(
        CandidateLists.from_texts(query, [document])
    ).unshared()
    expected = CASES[0]["expected"]["first_input_ids"]
    assert sequences.token_ids.tolist() == expected
    library = ranker.engine.reranker.tokenizer.library  # type: ignore[attr-defined]
    body = f"<Instruct>: {INSTRUCTION}\n\n<Query>: {query}\n\n<Document>: {document}"
    vllm = [
        token
        for part in (PREFIX, body, SUFFIX)
        for token in library.encode(part, add_special_tokens=False).ids
    ]
    assert vllm != expected
    assert SUFFIX.endswith("</think>\n\n")


@given(query=st.text(max_size=40), document=st.text(max_size=80))
def test_splitting_the_body_before_the_space_changes_no_id(query: str, document: str) -> None:
    library = load_tokenizer()
    head = body_head("Find it", query)

    def ids(text: str) -> list[int]:
        return list(library.encode(text, add_special_tokens=False).ids)

    assert ids(head) + ids(f" {document}") == ids(f"{head} {document}")


AWKWARD = ["", " ", "\n", "\r\n x", "\t", "  two", "'s", "'LL go", "\u0301acute", "(x", "..."]
AWKWARD += ["<|im_end|>", " <think>", "\u200b", "\u3000", "9", "é", "e\u0301"]


@pytest.mark.parametrize("document", AWKWARD)
def test_splitting_is_exact_where_a_document_begins_oddly(document: str) -> None:
    library = load_tokenizer()
    head = body_head("Find it", "what?")
    parts = [library.encode(t, add_special_tokens=False).ids for t in (head, f" {document}")]
    whole = library.encode(f"{head} {document}", add_special_tokens=False).ids
    assert [*parts[0], *parts[1]] == whole


_LIBRARY: list[Any] = []


def load_tokenizer() -> Any:
    if not _LIBRARY:
        from tokenizers import Tokenizer

        _LIBRARY.append(Tokenizer.from_file(str(GOLDEN / "tokenizer.json")))
    return _LIBRARY[0]


def test_the_suffix_survives_any_cut(ranker: api.Ranker) -> None:
    library = load_tokenizer()
    suffix = library.encode(SUFFIX, add_special_tokens=False).ids
    prefix = library.encode(PREFIX, add_special_tokens=False).ids
    query, document = "what is it", "word " * 500
    for length in (len(prefix) + len(suffix) + 1, 200, 300):
        reranker = load(max_length=length).engine.reranker
        sequences = reranker.encode(CandidateLists.from_texts(query, [document])).unshared()
        ids = sequences.token_ids.tolist()
        assert len(ids) == length
        assert ids[: len(prefix)] == prefix
        assert ids[-len(suffix) :] == suffix
        body = library.encode(f"{body_head(INSTRUCTION, query)} {document}").ids
        assert ids[len(prefix) : -len(suffix)] == body[: length - len(prefix) - len(suffix)]
        assert sequences.links["truncated"].tolist() == [1]
    sequences = ranker.engine.reranker.encode(
        CandidateLists.from_texts(query, ["short"])
    ).unshared()
    assert sequences.links["truncated"].tolist() == [0]


def test_long_documents_in_chunks_count_by_their_best() -> None:
    query, document = "what is it", " ".join(f"word{i} river skin" for i in range(120))
    settings = {"max_length": 300, "activation": "none", "chunk_overlap": 10}
    chunked = load(long_documents="chunk", **settings)
    lists = CandidateLists.from_texts(query, [document, "short"])
    sequences = chunked.engine.reranker.encode(lists).unshared()
    _, readouts = chunked.engine.run(lists, sequences)
    assert len(sequences) > 3
    assert sequences.lengths.max() == 300
    scores = chunked.score(query, [document, "short"])
    # Here the prompts are whole, there they share their beginning.
    np.testing.assert_allclose(scores[0], readouts.values[:-1, 0].max(), rtol=0, atol=2e-5)
    plain = load(**settings).score(query, [document, "short"])
    assert scores[1] == pytest.approx(plain[1], abs=1e-5)
    assert sequences.links["truncated"].tolist() == [0, 0]
    ends = load(long_documents="head_tail", **settings).score(query, [document])
    assert ends[0] != plain[0]


def independent(folder: Path, ids: list[int]) -> float:
    """The log-odds from all logits of transformers' own model."""
    import torch
    from transformers import Qwen3ForCausalLM

    model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    library = load_tokenizer()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1]
    return float(logits[library.token_to_id("yes")] - logits[library.token_to_id("no")])


@pytest.mark.parametrize("tied", [True, False])
def test_a_stored_output_layer_counts_only_where_it_is_not_tied(tmp_path: Path, tied: bool) -> None:
    import torch

    folder = copied(tmp_path, tie_word_embeddings=tied)
    weights = tensors(folder)
    torch.manual_seed(1)
    weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"].float())
    save(folder, weights)
    ranker = load(folder, activation="none")
    lists = CandidateLists.from_texts("skin", ["a cream for it"])
    ids = ranker.engine.reranker.encode(lists).unshared().token_ids.tolist()
    source = GOLDEN if tied else folder
    assert ranker.score_lists(lists)[0] == pytest.approx(independent(source, ids), abs=1e-4)


def test_an_untied_checkpoint_needs_its_output_layer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing tensor 'lm_head\.weight'"):
        load(copied(tmp_path, tie_word_embeddings=False))


def test_a_renamed_tensor_is_named(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    weights = tensors(folder)
    weights["model.norm.scale"] = weights.pop("model.norm.weight")
    save(folder, weights)
    with pytest.raises(ModelError, match=r"model\.norm\.scale.*model\.norm\.weight"):
        load(folder)


def test_a_token_that_breaks_the_network_leaves_its_neighbours(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    weights = tensors(folder)
    token = load_tokenizer().token_to_id("<|endoftext|>")
    weights["model.embed_tokens.weight"][token] = float("nan")
    save(folder, weights)
    scores = load(folder).score("skin", ["a cream", "<|endoftext|>", "a river of some length"])
    assert np.isnan(scores).tolist() == [False, True, False]


def test_what_does_not_fit_the_family_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model_type 'llama'"):
        load(copied(tmp_path / "a", model_type="llama"))
    with pytest.raises(ConfigurationError, match="leaves no room"):
        load(max_length=20)
    with pytest.raises(ConfigurationError, match="positions"):
        load(max_length=50_000)
    folder = copied(tmp_path / "b")
    text = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(text.replace('"yes"', '"yep"').replace("y es", "y ep"))
    with pytest.raises(ModelError, match=r"no token 'yes'|not readable"):
        load(folder)
