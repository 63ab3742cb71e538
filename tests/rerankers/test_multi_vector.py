"""Late interaction in the layouts of PyLate and sentence-transformers, against the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import api
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError, ModelError

GOLDENS = Path(__file__).parents[1] / "goldens"
PYLATE, LIBRARY = GOLDENS / "pylate-colbert-tiny", GOLDENS / "multi-vector-modernbert-tiny"
MODEL, TRANSFORMER = "config_sentence_transformers.json", "sentence_bert_config.json"
MASK = "2_MultiVectorMask/config.json"
QUERY = "How do trains keep time, in winter?"
DOCUMENTS = [
    "Trains leave every forty minutes, from the old station by the river!",
    "creams with aloe keep the skin from drying out",
    "",
    "... !? (,) -",
    "粗い紙 and 🍵 tea",
    "salt, flour, egg. " * 20,
]


def load(folder: Path, **options: Any) -> api.Ranker:
    return api.load(str(folder), device="cpu", **{"dtype": "float32", **options})


def changed(source: Path, folder: Path, **files: dict[str, Any]) -> Path:
    """A copy of a checkpoint with keys of some of its files changed."""
    shutil.copytree(source, folder)
    for name, keys in files.items():
        before = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps(before | keys), "utf-8")
    return folder


def library_scores(folder: Path) -> np.ndarray:
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    query, documents = model.encode_query([QUERY]), model.encode_document(DOCUMENTS)
    scores: np.ndarray = model.similarity(query, documents).numpy()[0]
    return scores


def agree(folder: Path) -> api.Ranker:
    """Ours are the library's scores, packed where that can be, and padded."""
    stated = library_scores(folder)
    assert np.ptp(stated) > 1e-3
    ranker = load(folder)
    np.testing.assert_allclose(ranker.score(QUERY, DOCUMENTS), stated, rtol=1e-6, atol=1e-4)
    padded = load(folder, packing="padded").score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(padded, stated, rtol=1e-6, atol=1e-4)
    return ranker


@pytest.mark.parametrize("folder", [PYLATE, LIBRARY], ids=lambda folder: folder.name)
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_goldens(folder: Path, packing: str) -> None:
    for line in (folder / "cases.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        ranker = load(
            folder,
            packing=packing,
            query_max_length=case["query_maxlen"],
            document_max_length=case["doc_maxlen"],
        )
        expected = case["expected"]
        scores = ranker.score(case["query"], case["documents"])
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-4, err_msg=case["case"])
        lists = CandidateLists.from_texts(case["query"], case["documents"])
        sequences = ranker.engine.reranker.encode(lists)
        assert sequences.token_ids[: sequences.offsets[1]].tolist() == expected["query_input_ids"]
        vectors = np.diff(sequences.readout_offsets)[sequences.links["document"]]
        assert vectors.tolist() == expected["doc_vectors"]


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (PYLATE, {MODEL: {"attend_to_expansion_tokens": True}}),
        (PYLATE, {MODEL: {"do_query_expansion": False}}),
        (PYLATE, {MODEL: {"skiplist_words": None, "prompts": {"query": "ask: ", "document": ""}}}),
        (PYLATE, {MODEL: {"query_prefix": "", "document_prefix": "[MASK]"}}),
        (LIBRARY, {TRANSFORMER: {"query_expansion": None, "query_length": 8}}),
        (
            LIBRARY,
            {TRANSFORMER: {"query_expansion": {"strategy": "min", "attend": True, "length": 24}}},
        ),
        (LIBRARY, {MODEL: {"similarity_fn_name": "meanmaxsim"}, MASK: {"skiplist_words": None}}),
        (LIBRARY, {MASK: {"skiplist_tasks": ["query", "document"]}}),
        (LIBRARY, {MASK: {"keep_only_token_ids": [5, 13, 14, 15, 85, 86, 87]}}),
        (LIBRARY, {MODEL: {"prompts": {"query": "[Q] find: ", "document": ""}}}),
        # Queries reach beyond what a windowed layer sees, so they are padded.
        (LIBRARY, {"config.json": {"local_attention": 8}}),
    ],
    ids=str,
)
def test_what_files_say_is_done_as_in_the_library(
    tmp_path: Path, source: Path, files: dict[str, Any]
) -> None:
    reranker = agree(changed(source, tmp_path / "model", **files)).engine.reranker
    assert reranker.packed == ("config.json" not in files)


def test_what_attends_is_read_in_colbert_ai_s_words_too(tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    folder = changed(PYLATE, tmp_path / "model")
    stated = json.loads((folder / MODEL).read_text("utf-8")) | {"attend_to_mask_tokens": True}
    del stated["attend_to_expansion_tokens"]
    (folder / MODEL).write_text(json.dumps(stated), "utf-8")
    assert MultiVectorEncoder(str(folder), device="cpu")[0].query_expansion["attend"]
    sequences = load(folder).engine.reranker.encode(CandidateLists.from_texts("trains", ["late"]))
    assert sequences.links["attended"].tolist() == sequences.lengths.tolist()


def test_a_pylate_checkpoint_that_the_library_saves_again(tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    folder = tmp_path / "model"
    MultiVectorEncoder(str(PYLATE), device="cpu").save_pretrained(str(folder))
    ranker = agree(folder)
    first = load(PYLATE)
    lists = CandidateLists.from_texts(QUERY, DOCUMENTS)
    assert (
        ranker.engine.reranker.encode(lists).to_ipc()
        == first.engine.reranker.encode(lists).to_ipc()
    )


@pytest.mark.parametrize(
    ("kind", "packed"),
    [("xlm-roberta", True), ("electra", True), ("distilbert", False), ("deberta-v2", False)],
)
def test_other_bodies(tmp_path: Path, kind: str, packed: bool) -> None:
    """DeBERTa runs packed elsewhere, and here where nothing fills queries unseen."""
    import torch
    from transformers import AutoConfig, AutoModel

    sizes = {"vocab_size": 1402, "max_position_embeddings": 66, "pad_token_id": 0}
    sizes |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "hidden_dim": 48, "embedding_size": 32}
    sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    torch.manual_seed(5)
    body = AutoModel.from_config(AutoConfig.for_model(kind, **sizes))
    for parameter in body.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    folder = Path(shutil.copytree(PYLATE, tmp_path / "model"))
    body.save_pretrained(folder)
    assert agree(folder).engine.reranker.packed == packed
    if kind == "deberta-v2":
        seen = changed(folder, tmp_path / "seen", **{MODEL: {"attend_to_expansion_tokens": True}})
        assert agree(seen).engine.reranker.packed


def test_a_marker_is_a_token_where_special_tokens_are_text() -> None:
    for folder in (PYLATE, LIBRARY):
        lists = CandidateLists.from_texts(QUERY, DOCUMENTS)
        encoded = [
            load(folder, special_tokens=how).engine.reranker.encode(lists).to_ipc()
            for how in ("upstream", "text")
        ]
        assert encoded[0] == encoded[1]


def test_words_that_are_no_token_are_not_on_the_skip_list() -> None:
    """PyLate takes the unknown token for them, and drops every unknown token of a document."""
    tokenizer: Any = load(PYLATE).engine.reranker.tokenizer  # type: ignore[attr-defined]
    library: Callable[[str], int | None] = tokenizer.texts.library.token_to_id
    assert library("``") is None
    assert sorted(tokenizer.skipped) == sorted(library(mark) for mark in ".,!?-")
    assert library("[UNK]") not in tokenizer.skipped


@pytest.mark.parametrize(
    ("source", "files", "says"),
    [
        (PYLATE, {MODEL: {"query_prefix": "[Unheard]"}}, r"'\[Unheard\]'"),
        (PYLATE, {MODEL: {"query_length": "32"}}, "query_length is '32'"),
        (PYLATE, {MODEL: {"similarity_fn_name": "xtr"}}, "similarity_fn_name 'xtr'"),
        (PYLATE, {MODEL: {"skiplist_words": "."}}, "skiplist_words '.'"),
        (PYLATE, {MODEL: {"query_expansion": None}}, "'query_expansion' belongs to"),
        (
            PYLATE,
            {MODEL: {"prompts": {"q": "ask: "}, "default_prompt_name": "q"}},
            "default_prompt_name 'q'",
        ),
        (PYLATE, {"1_Dense/config.json": {"in_features": 31}}, "shape"),
        (PYLATE, {"2_Dense/config.json": {"in_features": 31}}, "takes 31 numbers"),
        (PYLATE, {"2_Dense/config.json": {"module_output_name": "scores"}}, "module_output_name"),
        (PYLATE, {"config.json": {"auto_map": {}}}, "code of its own"),
        (LIBRARY, {MODEL: {"query_prefix": "[Q] "}}, "'query_prefix' belongs to PyLate's"),
        (LIBRARY, {MASK: {"layers": 3}}, "unknown key 'layers'"),
        (LIBRARY, {MASK: {"keep_only_token_ids": ["a"]}}, "keep_only_token_ids"),
        (LIBRARY, {"3_Normalize/config.json": {"module_input_name": "x"}}, "module_input_name"),
        (LIBRARY, {TRANSFORMER: {"query_length": 8}}, "query_length 8 is less than the 16"),
        (LIBRARY, {TRANSFORMER: {"query_expansion": {"strategy": "max"}}}, "strategy 'max'"),
        (LIBRARY, {TRANSFORMER: {"query_expansion": {"x": 1}}}, "query_expansion"),
        (LIBRARY, {TRANSFORMER: {"processing_kwargs": {"text": {"x": 1}}}}, "processing_kwargs"),
    ],
    ids=str,
)
def test_what_would_change_scores_is_refused_by_name(
    tmp_path: Path, source: Path, files: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        load(changed(source, tmp_path / "model", **files))


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["Transformer", "Pooling"], "modules Transformer, Pooling"),
        (["Dense"], "modules Dense"),
        (["Transformer", "Normalize", "Dense"], "modules Transformer, Normalize, Dense"),
        (["Transformer", "Dense", "Normalize"], "no MultiVectorMask"),
        (["Transformer", "Dense", "HierarchicalTokenPooling"], "HierarchicalTokenPooling"),
    ],
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kinds: list[str], says: str) -> None:
    folder = changed(LIBRARY, tmp_path / "model")
    folders = {"Transformer": "", "Dense": "1_Dense", "Normalize": "3_Normalize"}
    modules = [
        {
            "name": kind,
            "path": folders.get(kind, f"9_{kind}"),
            "type": f"sentence_transformers.{kind}",
        }
        for kind in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(ModelError, match=rf"modules\.json: .*{says}"):
        load(folder)


def test_settings_win_over_lengths_within_what_the_network_has() -> None:
    reranker: Any = load(PYLATE, query_max_length=9, document_max_length=12).engine.reranker
    lists = CandidateLists.from_texts(QUERY, DOCUMENTS)
    sequences = reranker.encode(lists)
    assert sequences.lengths[0] == 9
    assert sequences.links["truncated"].tolist() == [1, 1, 0, 0, 0, 1]
    assert sequences.links["n_tokens"].max() == 12
    with pytest.raises(ConfigurationError, match="document_max_length"):
        load(PYLATE, document_max_length=65)
