"""Checkpoints as the installed sentence-transformers saves them, against the library's own scores.

What it writes and would change scores is taken or refused with file and key, never skipped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import Ranker, load
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config import JobConfig, ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ModelError
from pipeline.execution.runs.identity import fingerprint, model_identity

GOLDENS = Path(__file__).resolve().parents[2] / "goldens"
TOLERANCE = 1e-5
QUERY = "How do I open a ZIP archive"
DOCUMENTS = [
    "Open a ZIP archive with the zipfile module.",
    "zip zip zip",
    "",
    "Files AND tokens",
    "a file of many tokens " * 20,
]
MODEL, POOLING = "config_sentence_transformers.json", "1_Pooling/config.json"
PROMPTS = {"query": "search: ", "document": "text about "}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny bi-encoder by the library itself; the same options give the same folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    made: dict[str, Path] = {}

    def save(pooling: str = "mean", *, normalize: bool = False, **options: Any) -> Path:
        key = json.dumps([pooling, normalize, options], sort_keys=True)
        if key not in made:
            body = modules.Transformer(str(GOLDENS / "ms-marco-minilm-tiny"), max_seq_length=24)
            parts = [body, modules.Pooling(body.get_embedding_dimension(), pooling)]
            parts += [modules.Normalize()] if normalize else []
            made[key] = tmp_path_factory.mktemp("saved") / "model"
            model = SentenceTransformer(modules=parts, device="cpu", **options)
            model.save_pretrained(str(made[key]))
        return made[key]

    return save


def library_scores(folder: Path, **how: Any) -> np.ndarray:
    """As the library's guide for search has it: both sides encoded, then ``similarity``."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    query = model.encode_query([QUERY], **how)
    scores: np.ndarray = model.similarity(query, model.encode_document(DOCUMENTS, **how)).numpy()
    return scores[0]


def ours(folder: Path, **settings: Any) -> Ranker:
    return load(str(folder), family="bi_encoder", device="cpu", **settings)


def changed(folder: Path, tmp_path: Path, name: str, **keys: Any) -> Path:
    """A copy of a checkpoint with keys of one of its files changed."""
    copy = Path(shutil.copytree(folder, tmp_path / "changed"))
    path = copy / name
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(before | keys), "utf-8")
    return copy


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"normalize": True}, "cosine"),
        ({}, "cosine"),
        ({"pooling": "cls"}, "cosine"),
        ({"similarity_fn_name": "dot"}, "dot"),
        ({"similarity_fn_name": "dot", "normalize": True}, "cosine"),
        ({"prompts": PROMPTS}, "cosine"),
        ({"prompts": PROMPTS, "default_prompt_name": "document"}, "cosine"),
        ({"prompts": {"query": "search: "}}, "cosine"),
        ({"prompts": {"query": "search: "}, "default_prompt_name": "query"}, "cosine"),
        ({"prompts": {"clustering": "cluster: "}}, "cosine"),
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_what_the_library_saves_scores_as_in_the_library(
    saved: Callable[..., Path], options: dict[str, Any], scale: str, packing: str
) -> None:
    folder = saved(**options)
    ranker = ours(folder, packing=packing)
    expected = library_scores(folder)
    np.testing.assert_allclose(ranker.score(QUERY, DOCUMENTS), expected, atol=TOLERANCE, rtol=1e-6)
    assert ranker.score_scale == scale
    assert np.ptp(expected) > 1e-3


def test_a_limit_of_tokens_is_that_of_the_library(saved: Callable[..., Path]) -> None:
    assert ours(saved()).engine.reranker.max_length == 24  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "mean"},
        {"pooling_mode": ["mean"], "include_prompt": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        {"pooling_mode": "mean", "pooling_mode_cls_token": True},
        {"pooling_mode_cls_token": True},
        {"pooling_mode_cls_token": False},
        {},
    ],
)
def test_pooling_is_read_as_the_library_reads_it(
    saved: Callable[..., Path], tmp_path: Path, pooling: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(saved(), tmp_path / "model"))
    (folder / POOLING).write_text(json.dumps({"embedding_dimension": 48} | pooling))
    np.testing.assert_allclose(
        ours(folder).score(QUERY, DOCUMENTS), library_scores(folder), atol=TOLERANCE
    )


def test_settings_win_over_prompts_of_the_checkpoint(saved: Callable[..., Path]) -> None:
    folder = saved(prompts=PROMPTS)
    plain = ours(saved()).score(QUERY, DOCUMENTS)
    none = ours(folder, query_prefix="", document_prefix="")
    np.testing.assert_allclose(none.score(QUERY, DOCUMENTS), plain, atol=TOLERANCE)
    mine = ours(folder, query_prefix="ask: ", document_prefix="ask: ").score(QUERY, DOCUMENTS)
    expected = library_scores(folder, prompt="ask: ")
    np.testing.assert_allclose(mine, expected, atol=TOLERANCE)
    assert np.abs(ours(folder).score(QUERY, DOCUMENTS) - plain).max() > 1e-3


def test_what_is_resolved_belongs_to_the_identity(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    def identity(folder: Path, **settings: Any) -> tuple[Any, str]:
        model = ModelConfig(family="bi_encoder", weights=str(folder), settings=settings)
        job = JobConfig.model_validate(
            {
                "model": model,
                "input": {"path": "in"},
                "output": {"path": "out"},
                "replicas": {"num_gpus": 0},
            }
        )
        described = model_identity(job, build_reranker(model))
        return described, fingerprint(job, described)

    plain, print_of_plain = identity(saved())
    assert (plain.settings["query_prefix"], plain.settings["document_prefix"]) == ("", "")
    prompted, print_of_prompted = identity(saved(prompts=PROMPTS))
    assert prompted.settings["query_prefix"] == PROMPTS["query"]
    assert prompted.settings["document_prefix"] == PROMPTS["document"]
    assert print_of_prompted != print_of_plain
    # The same words by the settings are the same settings.
    told, _ = identity(saved(), query_prefix="search: ", document_prefix="text about ")
    assert told.settings == prompted.settings
    for name in (MODEL, POOLING, "2_Normalize/config.json", "sentence_bert_config.json"):
        folder = Path(shutil.copytree(saved(normalize=True), tmp_path / name.replace("/", "-")))
        before = Checkpoint(folder).digest
        (folder / name).write_text((folder / name).read_text() + "\n")
        assert Checkpoint(folder).digest != before, name


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
DENSE = {"name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
NORMALIZE = {"name": "2", "path": "2_N", "type": "sentence_transformers.models.Normalize"}


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        ([*MODULES, {**DENSE, "type": "sentence_transformers.models.CNN"}], "CNN"),
        ([*MODULES, {**DENSE, "type": "sentence_transformers.models.WeightedLayer"}], "Weighted"),
        ([*MODULES, {**NORMALIZE, "type": "theirs.Normalize"}], r"'theirs\.Normalize' is code"),
        ([{**MODULES[0], "type": "custom_st.Transformer"}, MODULES[1]], "is code"),
        ([MODULES[0], {**MODULES[1], "path": "../1_Pooling"}], r"Pooling in '\.\./1_Pooling'"),
        ([MODULES[0], {**MODULES[1], "path": ""}], "Pooling in ''"),
        ([{**MODULES[0], "path": "0_Transformer"}, MODULES[1]], "Transformer in '0_Transformer'"),
        ([MODULES[0], NORMALIZE, MODULES[1]], "modules Transformer, Normalize, Pooling"),
        ([*MODULES, MODULES[1]], "every other module once"),
        ([MODULES[0]], "modules Transformer;"),
        ([], "modules none"),
        ([MODULES[0], {**MODULES[1], "kwargs": ["task"]}], "'kwargs' of module '1'"),
        ([MODULES[0], {**MODULES[1], "route": 1}], "'route' of module '1'"),
        ({"0": MODULES[0]}, "list of modules"),
    ],
)
def test_other_modules_are_refused_by_name(
    saved: Callable[..., Path], tmp_path: Path, modules: Any, says: str
) -> None:
    folder = Path(shutil.copytree(saved(), tmp_path / "model"))
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=rf"modules\.json: .*{says}"):
        ours(folder)


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        (POOLING, {"pooling_mode": "attention"}, "pooling attention"),
        (POOLING, {"pooling_mode": ["mean", "first"]}, "pooling mean, first"),
        (POOLING, {"pooling_mode": []}, "pooling by nothing"),
        (POOLING, {"embedding_dimension": None}, "embedding_dimension is None"),
        (POOLING, {"layers": 3}, "unknown key 'layers'"),
        (POOLING, {"pooling_mode": 5}, "pooling 5"),
        (MODEL, {"default_prompt_name": ["query"]}, "default_prompt_name"),
        ("sentence_bert_config.json", {"max_seq_length": "256"}, "max_seq_length '256'"),
        ("tokenizer_config.json", {"do_lower_case": False}, "do_lower_case is False"),
        ("tokenizer_config.json", {"strip_accents": False}, "strip_accents is False"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        (MODEL, {"similarity_fn_name": "maxsim"}, "similarity_fn_name 'maxsim'"),
        (MODEL, {"truncate_dim": "16"}, "truncate_dim is '16'"),
        (MODEL, {"model_type": "SparseEncoder"}, "model_type 'SparseEncoder'"),
        (MODEL, {"default_prompt_name": "nothing"}, "default_prompt_name 'nothing'"),
        (MODEL, {"prompts": {"passage": "p: "}}, "set model.settings.document_prefix"),
        (MODEL, {"prompts": {"s2p": "s: "}, "default_prompt_name": "s2p"}, "query_prefix"),
        (MODEL, {"prompts": ["query: "]}, "no table of texts"),
        (MODEL, {"prompts": {"query": 3}}, "no table of texts"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length 8"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
        ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "modality_config"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"x": 1}}}, "processing_kw"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "a/b"}, "tokenizer_name_or_path"),
        ("sentence_bert_config.json", {"model_args": {"subfolder": "x"}}, r"model_args\.subfolder"),
        ("tokenizer_config.json", {"truncation_side": "left"}, "truncation_side 'left'"),
    ],
)
def test_what_would_change_scores_is_refused_by_name(
    saved: Callable[..., Path], tmp_path: Path, name: str, keys: dict[str, Any], says: str
) -> None:
    folder = changed(saved(normalize=True), tmp_path, name, **keys)
    with pytest.raises(ModelError, match=rf"{name}: .*{says}"):
        ours(folder)


@pytest.mark.parametrize("name", [MODEL, POOLING, "sentence_bert_config.json", "config.json"])
@pytest.mark.parametrize("content", ["[1]", "3", '"text"', "null"])
def test_a_file_without_keys_is_refused_by_name(
    saved: Callable[..., Path], tmp_path: Path, name: str, content: str
) -> None:
    folder = Path(shutil.copytree(saved(), tmp_path / "model"))
    (folder / name).write_text(content)
    with pytest.raises(ModelError, match=rf"{name}: holds \w+, expected a table of keys"):
        ours(folder)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder that the library has saved."""
    from sentence_transformers import CrossEncoder

    folder = tmp_path_factory.mktemp("cross") / "model"
    CrossEncoder(str(GOLDENS / "ms-marco-minilm-tiny"), device="cpu").save_pretrained(str(folder))
    return folder


def test_a_cross_encoder_that_the_library_saved_scores_as_there(cross_encoder: Path) -> None:
    from sentence_transformers import CrossEncoder

    theirs = CrossEncoder(str(cross_encoder), device="cpu")
    expected = theirs.predict([(QUERY, document) for document in DOCUMENTS])
    scores = load(str(cross_encoder), family="cross_encoder", device="cpu").score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)


ACTIVATIONS = {
    "config.json": lambda name: {"sentence_transformers": {"activation_fn": name}},
    "config.json (before version 4)": lambda name: {"sbert_ce_default_activation_function": name},
    MODEL: lambda name: {"activation_fn": name},
}


@pytest.mark.parametrize("place", ACTIVATIONS)
def test_activations_are_known_by_name_and_never_imported(
    cross_encoder: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    name = place.split(" ")[0]
    for number, known in enumerate(
        (
            "torch.nn.modules.linear.Identity",
            "torch.nn.modules.activation.Sigmoid",
            "torch.nn.Sigmoid",
        )
    ):
        folder = changed(cross_encoder, tmp_path / str(number), name, **ACTIVATIONS[place](known))
        load(str(folder), family="cross_encoder", device="cpu")
    for number, other in enumerate(
        ("theirs.Sigmoid", "torch.nn.modules.activation.Softmax", "Sigmoid", "torch.hub.load")
    ):
        folder = changed(cross_encoder, tmp_path / f"o{number}", name, **ACTIVATIONS[place](other))
        with pytest.raises(ModelError, match=f"activation.*'{other}' is not understood"):
            load(str(folder), family="cross_encoder", device="cpu")
        scores = load(str(folder), family="cross_encoder", device="cpu", activation="none")
        assert scores.score_scale == "logit"


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        (MODEL, {"prompts": {"q": "ask: "}, "default_prompt_name": "p"}, "default_prompt_name 'p'"),
        (MODEL, {"prompts": {"q": 3}}, "no table of texts"),
        (MODEL, {"model_type": "SentenceTransformer"}, "model_type 'SentenceTransformer'"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length 8"),
        ("tokenizer_config.json", {"truncation_side": "left"}, "truncation_side 'left'"),
    ],
)
def test_a_cross_encoder_that_asks_for_more_is_refused(
    cross_encoder: Path, tmp_path: Path, name: str, keys: dict[str, Any], says: str
) -> None:
    folder = changed(cross_encoder, tmp_path, name, **keys)
    with pytest.raises(ModelError, match=rf"{name}: .*{says}"):
        load(str(folder), family="cross_encoder", device="cpu")


def test_further_modules_of_a_cross_encoder_are_refused(
    cross_encoder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(cross_encoder, tmp_path / "model"))
    (folder / "modules.json").write_text(json.dumps([MODULES[0], DENSE]))
    with pytest.raises(ModelError, match=r"modules\.json: modules Transformer, Dense"):
        load(str(folder), family="cross_encoder", device="cpu")
    changed_prompts = {"prompts": {"q": "ask: "}}  # in nobody's use
    load(str(changed(cross_encoder, tmp_path, MODEL, **changed_prompts)), family="cross_encoder",
         device="cpu")  # fmt: skip
