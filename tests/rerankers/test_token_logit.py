"""The token_logit family against upstream: sentence-transformers itself, and vendors' own steps."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints import cards
from pipeline.errors import ConfigurationError, ModelError
from pipeline.rerankers.token_logit import TokenLogit
from tests.rerankers.golden_work import FAMILIES, GOLDENS, token_logit_settings

NAMES = [name for name, family in FAMILIES.items() if family == "token_logit"]
LONG = " ".join(f"word{n} river skin." for n in range(150))


def cases(name: str) -> list[dict[str, Any]]:
    lines = (GOLDENS / name / "cases.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


CASES = [(name, case) for name in NAMES for case in cases(name)]


def load(name: str | Path, **options: Any) -> api.Ranker:
    where = name if isinstance(name, Path) else GOLDENS / name
    return api.load(str(where), device="cpu", dtype="float32", **options)


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
    return [sequences.token_ids[a:b].tolist() for a, b in pairwise(sequences.offsets.tolist())]


def copied(folder: Path, name: str = "zerank-tiny", **changes: dict[str, Any]) -> Path:
    """A golden's folder with changed JSON files; ``a__b`` stands for ``a/b``; None drops a key."""
    shutil.copytree(GOLDENS / name, folder)
    for file, content in changes.items():
        path = folder / f"{file.replace('__', '/')}.json"
        data = json.loads(path.read_text("utf-8")) | content
        path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}), "utf-8")
    return folder


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{n}-{c['case']}" for n, c in CASES])
def test_golden(name: str, case: dict[str, Any]) -> None:
    lists = lists_of(case["pairs"])
    # A folder of sentence-transformers says all by itself.
    how = {} if case["card"] is None else {"family": "token_logit"}
    for packing, share in (("packed", True), ("packed", False), ("padded", False)):
        options = {"packing": packing, "share_prefixes": share}
        ranker = load(name, **how, **options, **token_logit_settings(case))
        assert isinstance(ranker.engine.reranker, TokenLogit)
        assert ids_of(ranker, lists) == case["expected"]["input_ids"]
        scores = ranker.score_lists(lists)
        np.testing.assert_allclose(scores, case["expected"]["scores"], rtol=0, atol=1e-5)
        assert ranker.score_scale == "logit"


@pytest.mark.parametrize("name", NAMES)
def test_one_list_scores_as_many(name: str) -> None:
    case = cases(name)[0]
    how = {} if case["card"] is None else {"family": "token_logit"}
    ranker = load(name, **how, **token_logit_settings(case))
    query = case["pairs"][0][0]
    documents = [document for asked, document in case["pairs"] if asked == query]
    lists = CandidateLists.from_texts(query, documents)
    assert len(ranker.engine.reranker.encode(lists)) == len(documents) + 1  # a shared beginning
    expected = case["expected"]["scores"][: len(documents)]
    np.testing.assert_allclose(ranker.score(query, documents), expected, rtol=0, atol=1e-5)


ZERANK = cards.read("zerank-2").settings
CTXL = cards.read("ctxl-rerank-v2-1b").settings


@pytest.mark.parametrize("instructed", [False, True])
@pytest.mark.parametrize(
    ("golden", "card"),
    [("zerank-tiny", ZERANK), ("ctxl-rerank-tiny", CTXL)],
    ids=["zerank", "ctxl"],
)
def test_a_card_says_what_the_folder_says(
    golden: str, card: dict[str, Any], instructed: bool
) -> None:
    case = cases(golden)[int(instructed)]
    raw = {"activation": "none", "max_length": 2048}
    ranker = load(golden, family="token_logit", **(card | raw | token_logit_settings(case)))
    lists = lists_of(case["pairs"])
    assert ids_of(ranker, lists) == case["expected"]["input_ids"]
    np.testing.assert_allclose(ranker.score_lists(lists), case["expected"]["scores"], atol=1e-5)


def test_a_scaled_sigmoid() -> None:
    case = cases("zerank-tiny")[0]
    logits = np.array(case["expected"]["scores"][:9])
    documents = [document for _, document in case["pairs"][:9]]
    ranker = load("zerank-tiny", family="token_logit", **(ZERANK | {"max_length": 2048}))
    scores = ranker.score(case["pairs"][0][0], documents)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits / 5)), atol=1e-5)
    assert ranker.score_scale == "probability"
    shifted = load("zerank-tiny", activation="scaled_sigmoid", activation_shift=4.5)
    scores = shifted.score(case["pairs"][0][0], documents)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(4.5 - logits)), atol=1e-5)


def test_what_the_files_say_counts_where_settings_do_not(tmp_path: Path) -> None:
    plain, instructed = cases("zerank-tiny")
    asked = instructed["pairs"][:8]
    model = {
        "prompts": {"doctor": instructed["instruction"]},
        "default_prompt_name": "doctor",
        "activation_fn": "torch.nn.modules.activation.Sigmoid",
    }
    folder = copied(tmp_path / "a", config_sentence_transformers=model)
    logits = np.array(instructed["expected"]["scores"][:8])
    found = load(folder).score_lists(lists_of(asked))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-5)
    without = load(folder, instruction="", activation="none").score_lists(lists_of(plain["pairs"]))
    np.testing.assert_allclose(without, plain["expected"]["scores"], atol=1e-5)
    # The library's own, where nothing is said.
    bare = copied(tmp_path / "b", config_sentence_transformers={"activation_fn": None})
    assert load(bare).score_scale == "probability"


def test_two_tokens_and_one(tmp_path: Path) -> None:
    library = Tokenizer.from_file(str(GOLDENS / "zerank-tiny" / "tokenizer.json"))
    yes, no = library.token_to_id("Yes"), library.token_to_id("no")
    folder = copied(tmp_path / "a", **{"1_LogitScore__config": {"false_token_id": no}})
    texts = ("what helps dry skin", ["a cream", ""])
    score = {
        name: load("zerank-tiny", true_token=token).score(*texts)
        for name, token in (("text", "Yes"), ("id", yes), ("no", no))
    }
    np.testing.assert_array_equal(score["text"], score["id"])
    both = load(folder).score(*texts)
    np.testing.assert_allclose(both, score["id"] - score["no"], atol=1e-5)
    again = load("zerank-tiny", true_token="Yes", false_token="no").score(*texts)
    np.testing.assert_allclose(again, both, atol=1e-6)


AWKWARD = st.text(alphabet=st.sampled_from("ab .,?!'\n\r\t\u3000\u0301é漢🙂<>|"), max_size=30)
#: One text with both texts between the same special tokens, the query first, as a checkpoint of
#: Qwen3-Reranker in sentence-transformers' layout has it.
QWEN = (
    "<|im_start|>user\n<Instruct>: Find\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


@settings(max_examples=60)
@given(query=AWKWARD, document=AWKWARD)
def test_one_text_is_tokenised_as_a_whole(query: str, document: str) -> None:
    for template in (ZERANK["template"], CTXL["template"], QWEN):
        asked = {"template": template, "true_token": "Yes"}
        if template not in RANKERS:
            RANKERS[template] = load("zerank-tiny", family="token_logit", **asked)
        reranker = RANKERS[template].engine.reranker
        before, between, after = re.split(r"\{query\}|\{document\}", template)
        first, second = (document, query) if template == CTXL["template"] else (query, document)
        text = f"{before}{first}{between}{second}{after}"
        sequences = reranker.encode(CandidateLists.from_texts(query, [document])).unshared()
        assert sequences.token_ids.tolist() == reranker.tokenizer.words([text]).token_ids.tolist()


def test_a_query_before_its_document_is_shared() -> None:
    asked = {"template": QWEN, "true_token": "Yes"}
    reranker = load("zerank-tiny", family="token_logit", **asked).engine.reranker
    lists = CandidateLists.from_texts("what helps dry skin", ["a cream", "no", ""])
    sequences = reranker.encode(lists)
    text = reranker.tokenizer.library.decode(  # type: ignore[attr-defined]
        sequences.token_ids[sequences.offsets[3] :].tolist(), skip_special_tokens=False
    )
    assert text == QWEN.partition(" {document}")[0].replace("{query}", "what helps dry skin")


RANKERS: dict[str, Any] = {}


@pytest.mark.parametrize("long_documents", ["truncate", "head_tail", "chunk"])
@pytest.mark.parametrize("name", ["zerank-tiny", "ctxl-rerank-tiny"])
def test_words_of_one_text_survive_any_cut(name: str, long_documents: str) -> None:
    limit = 120
    ranker = load(name, max_length=limit, long_documents=long_documents, chunk_overlap=5)
    reranker: Any = ranker.engine.reranker
    query, documents = "what helps dry skin", [LONG, "short", "", LONG[:90]]
    sequences = reranker.encode(CandidateLists.from_texts(query, documents)).unshared()
    library = reranker.tokenizer.library
    texts = [
        library.decode(sequences.token_ids[a:b].tolist(), skip_special_tokens=False)
        for a, b in pairwise(sequences.offsets.tolist())
    ]
    template = (ZERANK if name == "zerank-tiny" else CTXL)["template"].replace("{query}", query)
    before, after = template.split("{document}")
    whole = texts[-3:]
    before = before.rstrip(" ")  # which goes with the text, so later chunks may have none
    assert all(text.startswith(before) and text.endswith(after) for text in texts)
    assert sequences.lengths.max() == limit
    assert whole == [template.replace("{document}", document) for document in documents[1:]]
    assert sequences.links["truncated"].tolist() == [int(long_documents != "chunk"), 0, 0, 0]
    inside = [text.removeprefix(before).removesuffix(after).strip(" ") for text in texts[:-3]]
    if long_documents == "chunk":
        assert len(inside) > 5
        assert LONG.startswith(inside[0])
        assert LONG.endswith(inside[-1])
        scores = ranker.score(query, documents)
        plain = load(name).score(query, documents[1:])
        np.testing.assert_allclose(scores[1:], plain, atol=1e-5)
    elif long_documents == "truncate":
        assert LONG.startswith(inside[0])


def test_a_query_without_room_loses_its_end_and_the_document_all() -> None:
    ranker = load("ctxl-rerank-tiny", max_length=120)
    reranker: Any = ranker.engine.reranker
    sequences = reranker.encode(CandidateLists.from_texts(LONG, ["a document"])).unshared()
    text = reranker.tokenizer.library.decode(sequences.token_ids.tolist())
    assert len(sequences.token_ids) == 120
    assert "<Document>\n<Query> word0 river" in text
    assert text.endswith(" ??")
    assert np.isfinite(ranker.score(LONG, [LONG, ""])).all()


def test_networks_that_do_not_run_packed(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Gemma2Config

    folder = copied(tmp_path / "a", "ctxl-rerank-6b-tiny")
    size = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    torch.manual_seed(5)
    config = Gemma2Config(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=16,
        max_position_embeddings=2048,
        final_logit_softcapping=2.0,
        initializer_range=0.5,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    asked = {"template": "{query}\n{document} ??", "true_token": 7, "false_token": 9}
    ranker = load(folder, family="token_logit", **asked)
    assert not ranker.engine.reranker.packed
    lists = lists_of([["a query", "a document of some length"], ["another", ""]])
    with torch.inference_mode():
        rows = [model(torch.tensor([ids])).logits[0, -1] for ids in ids_of(ranker, lists)]
    expected = [float(row[7] - row[9]) for row in rows]
    np.testing.assert_allclose(ranker.score_lists(lists), expected, atol=1e-5)


def test_settings_that_do_not_fit() -> None:
    asked = {"template": "{query} {document}", "true_token": "Yes"}
    for told, given_settings in {
        "leaves no room": {"max_length": 10},
        "positions": {"max_length": 9000},
        "no place {instruction}": asked | {"instruction": "find it"},
        "none is given": asked | {"template": "{instruction} {query} {document}"},
        "with model.settings.true_token only": {"false_token": "no"},
        "none of the 13": {"true_token": 9999},
        "document} is there 0 times": asked | {"template": "{query}"},
        "query} is there 2 times": asked | {"template": ["{query}", "{query}", "{document}"]},
        "a part of the list has": asked | {"template": ["{query} {document}"]},
        "has no words": asked | {"template": "{query}{document}"},
        "a template in parts": asked | {"query_share": 0.5},
        "used with model.settings.template only": {"add_special_tokens": True},
    }.items():
        with pytest.raises(ConfigurationError) as error:
            load("zerank-tiny", family="token_logit", **given_settings)
        assert told in str(error.value)
    for word in ("Yes and no", "Unheardof", ""):
        with pytest.raises(ModelError, match=r"no token '.*tokens spell it"):
            load("zerank-tiny", true_token=word)
    with pytest.raises(ConfigurationError, match=r"no modules.json.*settings.template"):
        load("ctxl-rerank-6b-tiny", family="token_logit")


def test_checkpoints_that_cannot_be_asked(tmp_path: Path) -> None:
    other = {"architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5"}
    with pytest.raises(ModelError, match="language models of text"):
        load(copied(tmp_path / "a", config=other))
    with pytest.raises(ModelError, match="use_bidirectional_attention"):
        load(copied(tmp_path / "b", config={"use_bidirectional_attention": True}))
    folder = copied(tmp_path / "c")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"no chat_template.jinja.*settings.template"):
        load(folder)
    without = copied(tmp_path / "d", "ctxl-rerank-6b-tiny")
    with pytest.raises(ConfigurationError, match=r"settings\.template"):
        load(without, family="token_logit", true_token="Yes")
