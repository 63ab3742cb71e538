from __future__ import annotations

import json
import shutil
import string
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks import maxsim

GOLDEN = Path(__file__).parents[1] / "goldens" / "jina-colbert-v2-tiny"
CASES = [json.loads(line) for line in (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines()]
BY_NAME = {case["case"]: case for case in CASES}


def load(folder: Path = GOLDEN, budget: int | None = None, **options: Any) -> api.Ranker:
    return api.load(
        str(folder),
        family="late_interaction",
        device="cpu",
        dtype="float32",
        token_budget=budget,
        **options,
    )


def copied(folder: Path, *, config: dict[str, Any] | None = None, **metadata: Any) -> Path:
    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    for name, changes in (("config.json", config or {}), ("artifact.metadata", metadata)):
        data = json.loads((folder / name).read_text("utf-8")) | changes
        (folder / name).write_text(json.dumps(data), "utf-8")
    return folder


@pytest.mark.parametrize("case", CASES, ids=list(BY_NAME))
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_golden(case: dict[str, Any], packing: str) -> None:
    lengths = {"query_max_length": case["query_maxlen"], "document_max_length": case["doc_maxlen"]}
    ranker = load(packing=packing, **lengths)
    expected = case["expected"]
    scores = ranker.score(case["query"], case["documents"])
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=1e-4)
    lists = CandidateLists.from_texts(case["query"], case["documents"])
    sequences = ranker.engine.reranker.encode(lists)
    assert sequences.token_ids[: sequences.offsets[1]].tolist() == expected["query_input_ids"]
    assert sequences.links["n_tokens"].tolist() == expected["doc_input_lengths"]
    documents = sequences.links["document"]
    assert sequences.lengths[documents].tolist() == expected["doc_input_lengths"]


def test_metadata_gives_the_default_lengths() -> None:
    reranker: Any = load().engine.reranker
    assert (reranker.lengths.query, reranker.lengths.document) == (32, 300)


@pytest.mark.parametrize("budget", [1, 700, 20_000])
def test_neighbours_do_not_move_scores(budget: int) -> None:
    case = BY_NAME["candidates_200"]
    whole = load().score(case["query"], case["documents"])
    some = load(budget=budget).score(case["query"], case["documents"][:50][::-1])[::-1]
    np.testing.assert_allclose(some, whole[:50], rtol=0, atol=1e-5)


def test_the_skip_list_is_of_first_ids_as_in_colbert_ai() -> None:
    expected = BY_NAME["seed_documents"]["expected"]
    skipped = load().engine.reranker.tokenizer.skipped.tolist()  # type: ignore[attr-defined]
    assert skipped == expected["skiplist_ids_colbert"]
    assert not set(skipped) & set(expected["skiplist_ids_pylate"])


def test_the_goldens_tell_the_two_skip_lists_apart() -> None:
    case = BY_NAME["punctuation"]
    ranker = load()
    tokenizer = ranker.engine.reranker.tokenizer  # type: ignore[attr-defined]
    tokenizer.skipped = np.array(
        [tokenizer.texts.library.token_to_id(mark) or -1 for mark in string.punctuation]
    )
    scores = ranker.score(case["query"], case["documents"])
    assert np.abs(scores - case["expected"]["scores"]).max() > 1e-2


def test_rotary_base_is_the_checkpoints_and_not_the_classes(tmp_path: Path) -> None:
    reranker: Any = load().engine.reranker
    [*_, second, _] = paces = reranker.network["body"].body.rotary.full_attention_inv_freq.tolist()
    assert second == pytest.approx(10_000.0 ** (-(len(paces) - 2) / len(paces)))
    case = BY_NAME["seed_documents"]
    other = load(copied(tmp_path, config={"rotary_emb_base": 20_000.0}))
    scores = other.score(case["query"], case["documents"])
    assert np.abs(scores - case["expected"]["scores"]).max() > 1e-3


def test_mask_tokens_are_attended_to_where_metadata_says(tmp_path: Path) -> None:
    case = BY_NAME["seed_documents"]
    scores = load(copied(tmp_path, attend_to_mask_tokens=False)).score(
        case["query"], case["documents"]
    )
    assert np.abs(scores - case["expected"]["scores"]).max() > 1e-3


def test_every_query_is_read_out_at_all_of_its_32_tokens() -> None:
    reranker = load().engine.reranker
    for query in ("", "short", "word " * 100):
        sequences = reranker.encode(CandidateLists.from_texts(query, ["x"]))
        assert np.diff(sequences.readout_offsets)[0] == 32
        assert sequences.lengths[0] == 32
    long = sequences.token_ids[:32]
    assert long[-1] == 2  # </s>: cut before the end, not after it


def test_a_literal_padding_token_is_a_mask_in_a_query_and_unscored_in_a_document() -> None:
    reranker: Any = load().engine.reranker
    sequences = reranker.encode(CandidateLists.from_texts("a<pad>b", ["c<pad>d", "cd"]))
    query = sequences.token_ids[:32]
    assert 1 not in query
    assert np.count_nonzero(query[: np.flatnonzero(query == 2)[0]] == 888) == 1
    first = slice(*sequences.offsets[sequences.links["document"][0] :][:2])
    read = np.diff(sequences.readout_offsets)[sequences.links["document"][0]]
    assert 1 in sequences.token_ids[first]
    assert read < len(sequences.token_ids[first])


def test_each_text_is_encoded_once() -> None:
    documents = ["a", "b", "a"]
    lists = [CandidateLists.from_texts(query, documents) for query in ("x", "y", "x")]
    unit = CandidateLists(
        queries=pa.concat_tables([one.queries for one in lists]),
        offsets=np.array([0, 3, 6, 9], dtype=np.int64),
        documents=pa.concat_tables([one.documents for one in lists]),
    )
    ranker = load()
    assert len(ranker.engine.reranker.encode(unit)) == 4
    scores = ranker.score_lists(unit)
    np.testing.assert_array_equal(scores[:3], scores[6:])
    np.testing.assert_allclose(scores[3:6], ranker.score("y", documents), rtol=0, atol=1e-5)
    assert scores[0] == scores[2]


def test_no_documents() -> None:
    assert load().score("x", []).tolist() == []


def test_truncation_is_reported() -> None:
    ranker = load(document_max_length=8)
    lists = CandidateLists.from_texts("x", ["short", "a river and a bridge and a spring"])
    sequences = ranker.engine.reranker.encode(lists)
    assert sequences.links["truncated"].tolist() == [0, 1]
    assert sequences.links["n_tokens"].max() == 8


def test_what_does_not_fit_the_family_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="similarity 'l2'"):
        load(copied(tmp_path / "a", similarity="l2"))
    with pytest.raises(ModelError, match="position_embedding_type 'absolute'"):
        load(copied(tmp_path / "b", config={"position_embedding_type": "absolute"}))
    with pytest.raises(ModelError, match=r"\[Unheard\]"):
        load(copied(tmp_path / "c", query_token_id="[Unheard]"))
    with pytest.raises(ConfigurationError, match="document_max_length"):
        load(document_max_length=9_000)
    with pytest.raises(ModelError, match=r"linear\.weight.*shape"):
        load(copied(tmp_path / "d", dim=16))
    (folder := copied(tmp_path / "e")).joinpath("artifact.metadata").unlink()
    with pytest.raises(ModelError, match=r"artifact\.metadata"):
        load(folder)


@pytest.mark.parametrize("activation", ["gelu_new", "mish"])
def test_packed_and_padded_agree_on_every_function_of_transformers(
    tmp_path: Path, activation: str
) -> None:
    folder, case = copied(tmp_path, config={"hidden_act": activation}), CASES[0]
    found = [
        load(folder, packing=packing).score(case["query"], case["documents"])
        for packing in ("packed", "padded")
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4)
    assert np.abs(found[0] - load().score(case["query"], case["documents"])).max() > 1e-4


@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("activation", ["gleu", None])
def test_an_unknown_function_is_refused_by_its_key(
    tmp_path: Path, packing: str, activation: str | None
) -> None:
    folder = copied(tmp_path, config={"hidden_act": activation})
    with pytest.raises(ModelError, match=r"config\.json: .*hidden_act"):
        load(folder, packing=packing)


# --- the plain layout: BERT and a linear -------------------------------------------------------

WORDS = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "!",
         "skin", "care", "river", "bridge", "what", "is"]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ColBERT as colbert-ai saves it."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("colbert")
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    library = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.add_special_tokens([word for word in WORDS if word.startswith("[")])
    library.post_processor = processors.BertProcessing(("[SEP]", 5), ("[CLS]", 4))
    library.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), "utf-8")
    metadata = {"query_maxlen": 12, "doc_maxlen": 20, "dim": 8, "mask_punctuation": True}
    (folder / "artifact.metadata").write_text(json.dumps(metadata), "utf-8")
    config = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    torch.manual_seed(0)
    bert = BertModel(BertConfig(**config))
    for parameter in bert.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    weights = {f"bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    weights["linear.weight"] = torch.randn(8, 16)
    weights["bert.embeddings.position_ids"] = torch.arange(32)[None]
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **config}), "utf-8")
    return folder


def colbert_ai(folder: Path, query: str, document: str) -> float:
    """colbert-ai's steps one by one, for texts of known words."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    bert = BertModel(BertConfig(**{k: v for k, v in config.items() if k != "model_type"})).eval()
    body = {k[5:]: v for k, v in weights.items() if k.startswith("bert.")}
    del body["embeddings.position_ids"]
    bert.load_state_dict(body)

    def vectors(words: list[str], attended: int) -> Any:
        ids = torch.tensor([[WORDS.index(word) for word in words]])
        mask = (torch.arange(len(words)) < attended).long()[None]
        with torch.inference_mode():
            hidden = bert(ids, attention_mask=mask).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden @ weights["linear.weight"].T, dim=-1)

    asked = ["[CLS]", "[unused0]", *query.split()[:9], "[SEP]"]
    q = vectors(asked + ["[MASK]"] * (12 - len(asked)), len(asked))
    read = ["[CLS]", "[unused1]", *document.split()[:17], "[SEP]"]
    d = vectors(read, len(read))
    # Marks outside the vocabulary make [UNK] the first id of a mark, and so skip it as well.
    kept = [i for i, word in enumerate(read) if word not in (".", ",", "!", "[UNK]", "[PAD]")]
    return float((q @ d[kept].T).max(dim=1).values.sum())


@pytest.mark.parametrize("query", ["what is skin care", "", "river " * 20])
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_plain_colbert_is_colbert_ais(plain: Path, query: str, packing: str) -> None:
    documents = ["skin care .", "river , bridge !", "is", "bridge " * 40, ". . ."]
    scores = load(plain, packing=packing).score(query, documents)
    expected = [colbert_ai(plain, query, document) for document in documents]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


# --- MaxSim ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(data=st.data(), rows=st.integers(1, 20))
def test_max_similarity_is_the_double_loop(data: st.DataObject, rows: int) -> None:
    counts = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    lists = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    text = st.integers(0, len(counts) - 1)
    queries = data.draw(st.lists(text, min_size=len(lists), max_size=len(lists)))
    documents = data.draw(st.lists(text, min_size=sum(lists), max_size=sum(lists)))
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(sum(counts), 5)).astype(np.float32)
    offsets = np.append(0, np.cumsum(counts))
    of = np.repeat(np.arange(len(lists)), lists)
    expected = [
        sum(
            max(float(vectors[t] @ vectors[s]) for s in range(offsets[d], offsets[d + 1]))
            for t in range(offsets[queries[q]], offsets[queries[q] + 1])
        )
        for q, d in zip(of, documents, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maxsim, "_ROWS", rows)
        scores = maxsim.max_similarity(
            vectors,
            offsets,
            queries=np.array(queries, dtype=np.int64),
            documents=np.array(documents, dtype=np.int64),
            lists=np.append(0, np.cumsum(lists)),
        )
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)


def test_a_broken_vector_breaks_its_own_document_only() -> None:
    vectors = np.ones((3, 2), dtype=np.float32)
    vectors[2] = np.nan
    scores = maxsim.max_similarity(
        vectors,
        np.arange(4),
        queries=np.array([0]),
        documents=np.array([1, 2]),
        lists=np.array([0, 2]),
    )
    assert np.isnan(scores).tolist() == [False, True]


def test_a_document_without_vectors_is_below_all_others() -> None:
    vectors = -np.ones((3, 2), dtype=np.float32)
    vectors[0] = 1
    scores = maxsim.max_similarity(
        vectors,
        np.array([0, 1, 1, 3]),
        queries=np.array([0]),
        documents=np.array([1, 2, 1]),
        lists=np.array([0, 3]),
    )
    assert scores.tolist() == [-1e9, -2.0, -1e9]
