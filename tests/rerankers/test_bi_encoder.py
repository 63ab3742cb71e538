"""Bi-encoders as the installed sentence-transformers saves them, against its own scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import api
from pipeline.candidates.lists import CandidateLists

GOLDENS = Path(__file__).parents[1] / "goldens"
TOLERANCE = 1e-5
QUERY = "How do I open a ZIP archive"
DOCUMENTS = [
    "Open a ZIP archive with the zipfile module.",
    "zip zip zip",
    "",
    "Dateien UND Zeichen, für 粗い紙",
    "a file of many tokens " * 20,
]
PROMPTS = {"query": "search for this: ", "document": "text about "}
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def library(
    *pooling: str,
    body: Path = GOLDENS / "ms-marco-minilm-tiny",
    steps: tuple[str, ...] = (),
    include_prompt: bool = True,
    **options: Any,
) -> Any:
    """A tiny model made of the library's own modules.

    Args:
        pooling: its modes.
        body: whose network and tokenizer it has.
        steps: classes after Pooling; a Dense is written with its activation, ``Dense Tanh``, and
            with ``+`` before it where it has a residual.
        include_prompt: of Pooling.
        **options: of the model.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(0)
    first = modules.Transformer(str(body), max_seq_length=24)
    size = first.get_embedding_dimension()
    parts = [first, modules.Pooling(size, list(pooling), include_prompt=include_prompt)]
    width = size * len(pooling)
    for number, step in enumerate(steps):
        if step == "Normalize":
            parts.append(modules.Normalize())
        elif step == "LayerNorm":
            parts.append(modules.LayerNorm(width))
            torch.nn.init.normal_(parts[-1].norm.weight)
        else:
            kind, activation = step.split(" ")
            made = getattr(torch.nn, activation)()
            gives = width if number % 2 else 12
            residual = kind.startswith("+")
            parts.append(
                modules.Dense(width, gives, activation_function=made, use_residual=residual)
            )
            width = gives
    return SentenceTransformer(modules=parts, device="cpu", **options)


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(str(folder))
    return folder


def expected(folder: Path) -> npt.NDArray[np.float32]:
    """Both sides encoded by the library as its guide for search has it, then ``similarity``."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    query, documents = model.encode_query([QUERY]), model.encode_document(DOCUMENTS)
    scores: npt.NDArray[np.float32] = model.similarity(query, documents).numpy()[0]
    return scores


def load(folder: Path, **options: Any) -> api.Ranker:
    options = {"dtype": "float32", **options}
    return api.load(str(folder), family="bi_encoder", device="cpu", **options)


def agree(
    folder: Path, scale: str | None = None, packings: tuple[str, ...] = ("packed", "padded")
) -> None:
    """Ours are the library's scores, packed and padded."""
    stated = expected(folder)
    assert np.ptp(stated) > 1e-3
    for packing in packings:
        ranker = load(folder, packing=packing)
        scores = ranker.score(QUERY, DOCUMENTS)
        np.testing.assert_allclose(scores, stated, rtol=1e-5, atol=TOLERANCE, err_msg=packing)
        assert scale in (None, ranker.score_scale)


@pytest.mark.parametrize(
    ("pooling", "options", "scale"),
    [
        (["mean"], {"prompts": PROMPTS, "include_prompt": False}, "cosine"),
        (["mean"], {"steps": ("Dense Tanh",)}, "cosine"),
        (["mean"], {"steps": ("Normalize",), "similarity_fn_name": "dot"}, "cosine"),
        (["max"], {"similarity_fn_name": "euclidean"}, "euclidean"),
        (["lasttoken"], {"similarity_fn_name": "manhattan"}, "manhattan"),
        (["mean_sqrt_len_tokens", "cls"], {"similarity_fn_name": "dot"}, "dot"),
        (["mean"], {"steps": ("+Dense GELU", "LayerNorm", "+Dense Identity")}, "cosine"),
        (
            ["mean"],
            {"steps": ("Normalize",), "similarity_fn_name": "dot", "truncate_dim": 16},
            "dot",
        ),
    ],
    ids=str,
)
def test_what_the_library_saves_scores_as_in_the_library(
    tmp_path: Path, pooling: list[str], options: dict[str, Any], scale: str
) -> None:
    agree(saved(library(*pooling, **options), tmp_path / "model"), scale)


@settings(
    deadline=None,
    max_examples=5,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_combination_scores_as_in_the_library(tmp_path: Path, data: st.DataObject) -> None:
    layer = st.sampled_from(["Normalize", "LayerNorm", "Dense SiLU", "+Dense Tanh"])
    pooling = data.draw(st.lists(st.sampled_from(MODES), min_size=1, max_size=3, unique=True))
    options = {
        "steps": tuple(data.draw(st.lists(layer, max_size=3))),
        "include_prompt": data.draw(st.booleans()),
        "similarity_fn_name": data.draw(
            st.sampled_from(["cosine", "dot", "euclidean", "manhattan"])
        ),
        "prompts": PROMPTS,
    }
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)
    agree(saved(library(*pooling, **options), folder))


def test_a_prompt_that_is_left_out_is_read_by_the_network(tmp_path: Path) -> None:
    folder = saved(library("mean", prompts=PROMPTS, include_prompt=False), tmp_path / "model")
    scores = load(folder).score(QUERY, DOCUMENTS)
    without = load(folder, query_prefix="", document_prefix="").score(QUERY, DOCUMENTS)
    assert np.abs(scores - without).max() > 1e-3
    # A text that is nothing but its prompt has its last special token.
    sequences = load(folder).engine.reranker.encode(CandidateLists.from_texts("", [""]))
    assert (sequences.lengths - sequences.links["prompt"]).tolist() == [1, 1]
    # Equal texts of which different beginnings are left out are two sequences.
    lists = CandidateLists.from_texts("text about zip", ["zip"])
    assert len(load(folder, query_prefix="").engine.reranker.encode(lists)) == 2


def test_texts_are_lowercased_where_the_checkpoint_says(tmp_path: Path) -> None:
    folder = saved(library("mean"), tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"do_lower_case": False}))
    cased = expected(folder)
    (path := folder / "sentence_bert_config.json").write_text(
        json.dumps(json.loads(path.read_text("utf-8")) | {"do_lower_case": True})
    )
    assert np.abs(expected(folder) - cased).max() > 1e-3
    agree(folder)


def test_a_limit_past_the_positions_is_the_positions(tmp_path: Path) -> None:
    """The library saves max_position_embeddings itself for RoBERTa's, two more than can be used."""
    folder = saved(library("mean"), tmp_path / "model")
    path = folder / "sentence_bert_config.json"
    stated = json.loads(path.read_text("utf-8")) | {"max_seq_length": 514}
    path.write_text(json.dumps(stated), "utf-8")
    agree(folder)
    assert load(folder).engine.reranker.max_length == 512  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", ["", "bert."])
def test_a_body_inside_a_larger_network_and_by_its_first_names(tmp_path: Path, before: str) -> None:
    """As bert-base-uncased is published: a masked language model, with LayerNorm.gamma and beta."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = saved(library("mean"), tmp_path / "model")
    scores = expected(folder)
    path = folder / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {}
    for name, tensor in load_file(path).items():
        for new, first in old.items():
            name = name.replace(new, first)
        tensors[before + name] = tensor
    if before:
        tensors["cls.predictions.bias"] = torch.zeros(5)
        tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(tensors, path, {"format": "pt"})
    agree(folder)
    np.testing.assert_allclose(load(folder).score(QUERY, DOCUMENTS), scores, atol=TOLERANCE)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3, its tokenizer as Qwen3-Embedding's: a token after every text, padded left."""
    import torch
    from transformers import AutoModel

    golden, folder = GOLDENS / "qwen3-reranker-tiny", tmp_path_factory.mktemp("qwen3") / "body"
    AutoModel.from_pretrained(golden, dtype=torch.float32).save_pretrained(folder)
    tokenizer = json.loads((golden / "tokenizer.json").read_text("utf-8"))
    ends = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    end = "<|endoftext|>"
    after = {"SpecialToken": {"id": end, "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, after],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {end: {"id": end, "ids": [ends[end]], "tokens": [end]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    names = json.loads((golden / "tokenizer_config.json").read_text("utf-8"))
    names |= {"padding_side": "left", "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("pooling", "options"),
    [
        (["lasttoken"], {"steps": ("Normalize",)}),
        (["lasttoken"], {"include_prompt": False}),
        (["mean"], {}),
    ],
    ids=str,
)
def test_decoders_score_as_in_the_library(
    tmp_path: Path, decoder: Path, pooling: list[str], options: dict[str, Any]
) -> None:
    prompts = {"query": "Instruct: find what answers the query\nQuery:", "document": ""}
    model = library(*pooling, body=decoder, prompts=prompts, **options)
    assert model.tokenizer.padding_side == "left"
    folder = saved(model, tmp_path / "model")
    ranker = load(folder)
    stated = expected(folder)
    np.testing.assert_allclose(ranker.score(QUERY, DOCUMENTS), stated, rtol=0, atol=TOLERANCE)
    assert ranker.engine.reranker.packed == (
        options.get("include_prompt", True) and pooling != ["mean"]
    )
    padded = load(folder, packing="padded").score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(padded, stated, rtol=0, atol=TOLERANCE)


#: Networks that are none of the packed ones: an encoder stored without its decoder, bodies that
#: transformers builds with a pooler and sentence-transformers saves without, one that looks back.
OTHERS: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
           "decoder_start_token_id": 0},
    "ernie": {"intermediate_size": 48},
    "rembert": {"intermediate_size": 48, "input_embedding_size": 16, "output_embedding_size": 16},
    "bert": {"intermediate_size": 48, "is_decoder": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_other_networks_score_as_in_the_library(tmp_path: Path, kind: str) -> None:
    import torch
    import transformers

    torch.manual_seed(3)
    golden, folder = GOLDENS / "ms-marco-minilm-tiny", tmp_path / "body"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {} if kind == "t5" else sizes | {"max_position_embeddings": 64}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=1400, pad_token_id=0, **sizes, **OTHERS[kind]
    )
    made = transformers.T5EncoderModel if kind == "t5" else transformers.AutoModel.from_config
    made(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden / name, folder)
    agree(saved(library("mean", body=folder), tmp_path / "model"), packings=("auto",))


@pytest.mark.parametrize("pooling", ["lasttoken", "mean", "max", "cls"])
def test_a_text_of_which_no_token_is_made_has_the_vector_zero(
    decoder: Path, tmp_path: Path, pooling: str
) -> None:
    """As the library's means and last tokens have it; its others depend on the batch."""
    body = Path(shutil.copytree(decoder, tmp_path / "body"))
    path = body / "tokenizer.json"
    file = json.loads(path.read_text("utf-8")) | {"post_processor": None}
    path.write_text(json.dumps(file), "utf-8")
    folder = saved(library(pooling, body=body), tmp_path / "model")
    if pooling in ("lasttoken", "mean"):
        agree(folder, packings=("auto", "padded"))
    for packing in ("auto", "padded"):
        ranker = load(folder, packing=packing)
        scores = ranker.score(QUERY, DOCUMENTS)
        assert scores[DOCUMENTS.index("")] == 0
        assert np.ptp(scores) > 1e-3
        assert ranker.score("", DOCUMENTS).tolist() == [0.0] * len(DOCUMENTS)
