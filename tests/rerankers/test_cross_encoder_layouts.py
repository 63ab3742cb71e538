"""Cross-encoders as the installed sentence-transformers saves them, against its own ``predict``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.api import Ranker, load
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig, ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ModelError
from pipeline.execution.runs.identity import fingerprint, model_identity
from pipeline.prompts.pairs import sigmoid
from pipeline.rerankers.cross_encoder import CrossEncoder
from tests.fixtures_runs import Rerank, ranked
from tests.makers import write

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
GOLDEN = ("electra-reranker-tiny", "ettin-reranker-tiny", "two-label-bert-tiny")
BERT, XLM_R = "ms-marco-minilm-tiny", "bge-reranker-tiny"
MODEL = "config_sentence_transformers.json"
TOLERANCE = 1e-5
QUERY = "How do I open a ZIP archive"
DOCUMENTS = [
    "Open a ZIP archive with the zipfile module.",
    "  zip zip zip \n",
    "",
    "Größe, coût und 日本語 🍵",
    "Files AND tokens",
    "a file of many tokens " * 200,
]


def save(folder: Path, model: Any, **config: Any) -> Path:
    """What the library writes, with keys of config.json changed; None takes one out."""
    model.save_pretrained(str(folder))
    change(folder, "config.json", **config)
    return folder


def change(folder: Path, name: str, **keys: Any) -> Path:
    path = folder / name
    changed = json.loads(path.read_text("utf-8")) | keys
    path.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}), "utf-8")
    return folder


def predict(folder: Path, **how: Any) -> np.ndarray:
    from sentence_transformers import CrossEncoder as Library

    pairs = [(QUERY, document) for document in DOCUMENTS]
    scores: np.ndarray = Library(str(folder), device="cpu").predict(pairs, **how)
    return scores


def ours(folder: Path, **settings: Any) -> Ranker:
    return load(str(folder), family="cross_encoder", device="cpu", **settings)


def near(scores: Any, expected: Any) -> None:
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE, rtol=1e-6)
    assert np.ptp(expected) > 1e-3


def plain(**options: Any) -> Any:
    from sentence_transformers import CrossEncoder as Library

    return Library(str(GOLDENS / BERT), device="cpu", **options)


def two_labels() -> Any:
    model = plain()
    torch.manual_seed(5)
    model.model.classifier = torch.nn.Linear(48, 2)
    model.model.config.num_labels = 2
    return model


def projected() -> Any:
    """The shortest chain: the mean of all tokens, and one row."""
    from sentence_transformers import CrossEncoder as Library
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(9)
    body = modules.Transformer(str(GOLDENS / BERT))
    row = modules.Dense(48, 1, activation_function=None, module_output_name="scores")
    return Library(modules=[body, modules.Pooling(48, "mean"), row], device="cpu")


def chained(pooling: Any = "cls", *, labels: int = 1) -> Any:
    """An Ettin reranker's modules behind a body; the norm has a bias that is not zero."""
    from sentence_transformers import CrossEncoder as Library
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(6)
    body = modules.Transformer(str(GOLDENS / BERT), max_seq_length=128)
    modes = [pooling] if isinstance(pooling, str) else pooling
    norm = modules.LayerNorm(48)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    return Library(
        modules=[
            body,
            modules.Pooling(48, pooling),
            modules.Dense(48 * len(modes), 48, bias=False, activation_function=torch.nn.GELU()),
            norm,
            modules.Dense(48, labels, activation_function=None, module_output_name="scores"),
        ],
        device="cpu",
        activation_fn=torch.nn.Identity(),
    )


IDENTITY, TANH = torch.nn.Identity(), torch.nn.Tanh()
OLD, OLDER = "sentence_transformers", "sbert_ce_default_activation_function"
NO_KEYS = {OLDER: None}

#: What is saved, with what in config.json, and what the scores are by the checkpoint's activation.
SAVED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "identity": (lambda: plain(activation_fn=IDENTITY), NO_KEYS, "logit"),
    "tanh": (lambda: plain(activation_fn=TANH), NO_KEYS, "tanh"),
    "sigmoid, older key": (plain, {OLDER: "torch.nn.modules.activation.Sigmoid"}, "probability"),
    "tanh, old key": (plain, {OLD: {"activation_fn": "torch.nn.modules.activation.Tanh"}}, "tanh"),
    "no key": (plain, NO_KEYS, "probability"),
    "prompt": (
        lambda: plain(prompts={"q": "find the file: ", "r": "x"}, default_prompt_name="q"),
        {},
        "logit",
    ),
    "prompts in nobody's use": (lambda: plain(prompts={"q": "find the file: "}), {}, "logit"),
    "float32 layers": (
        lambda: plain(keep_in_fp32_modules=["0.model.classifier"]), {}, "logit",
    ),
    "chain": (chained, {}, "logit"),
    "chain of one row": (projected, {}, "logit"),
    "chain, mean": (lambda: chained("mean"), {}, "logit"),
    "chain, lasttoken": (lambda: chained("lasttoken"), {}, "logit"),
    "chain, several": (lambda: chained(["cls", "max", "weightedmean"]), {}, "logit"),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            make, config, _ = SAVED[name]
            made[name] = save(tmp_path_factory.mktemp("saved") / "model", make(), **config)
            if "key" in name:  # files of versions before 5.4, which had no activation there
                change(made[name], MODEL, activation_fn=None)
        return made[name]

    return folder


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_goldens(cases: Cases, pair_lists: PairLists, name: str, packing: str) -> None:
    for case in cases(name):
        ranker = ours(GOLDENS / name, packing=packing, max_length=case["max_length"])
        lists, expected = pair_lists(case["pairs"]), case["expected"]
        sequences = ranker.engine.reranker.encode(lists)
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        first = expected["first_input_ids"]
        assert sequences.token_ids[: len(first)].tolist() == first
        scores = ranker.score_lists(lists)
        np.testing.assert_allclose(scores, expected["logits"], atol=TOLERANCE, rtol=1e-6)
        probabilities = expected.get("probabilities")
        if probabilities is not None:
            np.testing.assert_allclose(sigmoid(scores), probabilities, atol=TOLERANCE)


def test_a_chain_in_a_run_by_its_place_alone(
    rerank_in_process: Rerank, cases: Cases, tmp_path: Path
) -> None:
    case = next(case for case in cases("ettin-reranker-tiny") if case["case"] == "multilingual")
    rows = [
        {"query_id": query, "query": query, "doc_id": f"{number:03d}", "text": text}
        for number, (query, text) in enumerate(case["pairs"])
    ]
    path = write(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    found = ranked(rerank_in_process(path, model={"name": str(GOLDENS / "ettin-reranker-tiny")}))
    scores = found.sort_by("doc_id").column("score").to_numpy()
    np.testing.assert_allclose(scores, case["expected"]["logits"], atol=TOLERANCE, rtol=1e-6)


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_scores_are_those_of_the_library(
    saved: Callable[[str], Path], name: str, packing: str
) -> None:
    folder = saved(name)
    raw = ours(folder, packing=packing)
    assert raw.score_scale == "logit"
    near(raw.score(QUERY, DOCUMENTS), predict(folder, activation_fn=IDENTITY))
    as_named = ours(folder, packing=packing, activation="checkpoint")
    assert as_named.score_scale == SAVED[name][2]
    near(as_named.score(QUERY, DOCUMENTS), predict(folder))


@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("make", [two_labels, lambda: chained(labels=2)], ids=["head", "chain"])
def test_two_labels_are_the_library_s_softmax(
    tmp_path: Path, make: Callable[[], Any], packing: str
) -> None:
    folder = save(tmp_path / "model", make(), **NO_KEYS)
    scores = ours(folder, packing=packing, activation="sigmoid").score(QUERY, DOCUMENTS)
    near(scores, predict(folder, apply_softmax=True)[:, 1])
    columns = predict(folder)
    log_odds = ours(folder, packing=packing, activation="checkpoint")
    near(log_odds.score(QUERY, DOCUMENTS), columns[:, 1] - columns[:, 0])


def test_an_activation_of_each_of_two_labels_is_no_score(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", two_labels(), **NO_KEYS)
    change(folder, MODEL, activation_fn="torch.nn.modules.activation.Sigmoid")
    with pytest.raises(ModelError, match="activation_fn: sigmoid of each of 2 labels"):
        ours(folder)
    assert ours(folder, activation="none").score_scale == "logit"


def test_the_place_that_the_library_asks_first_counts(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved("tanh"), tmp_path / "model"))
    later = {OLD: {"activation_fn": "torch.nn.Sigmoid"}, OLDER: "torch.nn.Identity"}
    change(folder, "config.json", **later)
    assert ours(folder, activation="checkpoint").score_scale == "tanh"
    change(folder, MODEL, activation_fn=None)
    assert ours(folder, activation="checkpoint").score_scale == "probability"
    near(ours(folder, activation="checkpoint").score(QUERY, DOCUMENTS), predict(folder))


def test_a_prompt_is_the_query_s_only_and_belongs_to_the_identity(
    saved: Callable[[str], Path],
) -> None:
    def identity(**settings: Any) -> tuple[Any, str]:
        model = ModelConfig(family="cross_encoder", weights=str(saved("prompt")), settings=settings)
        job = JobConfig.model_validate(
            {
                "model": model,
                "input": {"path": "in"},
                "output": {"path": "out"},
                "replicas": {"num_gpus": 0},
            }
        )
        described = model_identity(job, build_reranker(model))
        return described.settings["prompt"], fingerprint(job, described)

    assert identity()[0] == "find the file: "
    assert identity() == identity(prompt="find the file: ")
    assert identity()[1] != identity(prompt="")[1]
    folder = saved("prompt")
    near(
        ours(folder, prompt="").score(QUERY, DOCUMENTS),
        predict(saved("no key"), activation_fn=IDENTITY),
    )
    written = ours(saved("identity")).score("find the file: " + QUERY, DOCUMENTS)
    np.testing.assert_array_equal(ours(folder).score(QUERY, DOCUMENTS), written)


def limits(folder: Path, **settings: Any) -> int:
    reranker = ours(folder, **settings).engine.reranker
    assert isinstance(reranker, CrossEncoder)
    return reranker.limits.max_length


def test_lengths_are_the_library_s_and_never_more_than_there_are_positions(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    assert limits(saved("chain")) == 128
    folder = Path(shutil.copytree(saved("identity"), tmp_path / "model"))
    change(folder, "tokenizer_config.json", model_max_length=10**30)
    assert limits(folder) == 512
    change(folder, "tokenizer_config.json", model_max_length=40)
    assert limits(folder) == 40
    change(folder, "sentence_bert_config.json", max_seq_length=99)
    assert limits(folder) == 99
    near(ours(folder).score(QUERY, DOCUMENTS), predict(folder, activation_fn=IDENTITY))
    change(folder, "sentence_bert_config.json", max_seq_length=8000)
    assert limits(folder) == 512
    assert limits(folder, max_length=17) == 17


def test_texts_are_lowercased_where_the_library_does(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved("identity"), tmp_path / "model"))
    change(folder, "tokenizer.json", normalizer=None)
    change(folder, "tokenizer_config.json", do_lower_case=None)
    shouted = [document.upper() for document in DOCUMENTS[:2]]
    assert (
        ours(folder).score(QUERY, shouted).tolist()
        != ours(folder).score(QUERY, [document.lower() for document in DOCUMENTS[:2]]).tolist()
    )
    change(folder, "sentence_bert_config.json", do_lower_case=True)
    ranker = ours(folder)
    np.testing.assert_array_equal(
        ranker.score(QUERY, shouted),
        ranker.score(QUERY.lower(), [document.lower() for document in shouted]),
    )


def test_another_kind_of_model_is_refused_whatever_is_set(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved("identity"), tmp_path / "model"))
    change(folder, MODEL, model_type="SparseEncoder")
    with pytest.raises(ModelError, match="model_type 'SparseEncoder'"):
        ours(folder, activation="none")


def test_a_padding_section_of_the_tokenizer_has_no_effect(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """gte-reranker-modernbert-base pads every pair to 8,000 tokens there."""
    folder = Path(shutil.copytree(saved("identity"), tmp_path / "model"))
    pad = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
    pad |= {"pad_token": "[PAD]", "strategy": {"Fixed": 8000}}
    cut = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    before = ours(folder)
    change(folder, "tokenizer.json", padding=pad, truncation=cut)
    after = ours(folder)
    np.testing.assert_array_equal(after.score(QUERY, DOCUMENTS), before.score(QUERY, DOCUMENTS))


def encoder(kind: str, **more: Any) -> Any:
    from transformers import AutoConfig

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "initializer_range": 0.4, "num_labels": 1}
    return AutoConfig.for_model(kind, **sizes | more)


_OF_BERT = {"vocab_size": 1400, "pad_token_id": 0, "max_position_embeddings": 512}
_OF_ROBERTA = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
               "max_position_embeddings": 130, "type_vocab_size": 1}  # fmt: skip

#: Networks by kind: their sizes, the golden whose tokenizer they have, whether they are packed.
NETWORKS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "electra": (_OF_BERT | {"embedding_size": 16}, BERT, True),
    "camembert": (_OF_ROBERTA, XLM_R, True),
    "distilbert": (
        {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4} | _OF_BERT, BERT, False,
    ),
    "mpnet": (_OF_ROBERTA, XLM_R, False),
    "albert": (_OF_BERT | {"embedding_size": 16}, BERT, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            from transformers import AutoModelForSequenceClassification

            torch.manual_seed(8)
            sizes, golden, _ = NETWORKS[kind]
            if golden == XLM_R:
                config = json.loads((GOLDENS / XLM_R / "config.json").read_text("utf-8"))
                sizes = sizes | {"vocab_size": config["vocab_size"]}
            network = AutoModelForSequenceClassification.from_config(encoder(kind, **sizes))
            made[kind] = tmp_path_factory.mktemp(kind) / "model"
            network.save_pretrained(made[kind])
            shutil.copy(GOLDENS / golden / "tokenizer.json", made[kind])
            shutil.copy(GOLDENS / golden / "tokenizer_config.json", made[kind])
            limit = sizes["max_position_embeddings"] - 2
            change(made[kind], "tokenizer_config.json", model_max_length=limit)
            if golden == XLM_R:  # the library's own classes would build the tokenizer anew
                named = {"tokenizer_class": "PreTrainedTokenizerFast"}
                change(made[kind], "tokenizer_config.json", **named)
        return made[kind]

    return folder


@pytest.mark.parametrize(
    ("kind", "packing"),
    [(kind, "padded") for kind in NETWORKS]
    + [(kind, "packed") for kind, (_, _, packs) in NETWORKS.items() if packs],
)
def test_networks_score_as_in_the_library(
    networks: Callable[[str], Path], kind: str, packing: str
) -> None:
    folder = networks(kind)
    ranker = ours(folder, packing=packing)
    near(ranker.score(QUERY, DOCUMENTS), predict(folder, activation_fn=IDENTITY))
    one_by_one = ours(folder, packing=packing, token_budget=1)
    near(ranker.score(QUERY, DOCUMENTS), one_by_one.score(QUERY, DOCUMENTS))


@pytest.mark.parametrize(
    ("kind", "tokenizer"),
    [
        ("albert", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("electra", {"model_input_names": ["input_ids", "attention_mask"]}),
    ],
)
def test_both_texts_have_one_token_type_where_the_library_gives_none(
    networks: Callable[[str], Path], tmp_path: Path, kind: str, tokenizer: dict[str, Any]
) -> None:
    """As AlbertTokenizer and a tokenizer without a class of its own, in transformers 5."""
    folder = Path(shutil.copytree(networks(kind), tmp_path / "model"))
    before = ours(folder).score(QUERY, DOCUMENTS)
    change(folder, "tokenizer_config.json", **tokenizer)
    scores = ours(folder).score(QUERY, DOCUMENTS)
    near(scores, predict(folder, activation_fn=IDENTITY))
    assert np.abs(scores - before).max() > 1e-3


@pytest.mark.parametrize("kind", ["camembert", "mpnet"])
def test_positions_that_no_token_can_use_are_left_out(
    networks: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(networks(kind), tmp_path / "model"))
    change(folder, "tokenizer_config.json", model_max_length=None)
    assert limits(folder) == 128


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "first"}, "pooling first"),
        ("1_Pooling/config.json", {"embedding_dimension": 47}, "pools 47 numbers.* gives 48"),
        ("4_Dense/config.json", {"module_output_name": "other"}, "expected 'scores'"),
        ("4_Dense/config.json", {"activation_function": "torch.nn.Mish"}, "torch.nn.Mish"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
    ],
)
def test_parts_of_a_chain_that_are_not_understood_are_refused_by_name(
    saved: Callable[[str], Path], tmp_path: Path, name: str, keys: dict[str, Any], says: str
) -> None:
    folder = change(Path(shutil.copytree(saved("chain"), tmp_path / "model")), name, **keys)
    with pytest.raises(ModelError, match=rf"{name}.*{says}"):
        ours(folder)


def test_a_prompt_that_pooling_leaves_out_is_refused(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved("chain"), tmp_path / "model"))
    change(folder, "1_Pooling/config.json", include_prompt=False)
    near(ours(folder).score(QUERY, DOCUMENTS), predict(folder))
    with pytest.raises(ModelError, match="include_prompt: false"):
        ours(folder, prompt="find: ")
