"""What tokenizer_config.json says, against the tokenizers that transformers makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ModelError
from pipeline.tokenization.tokenizer_rules import WITH_TYPES, gives_token_types, tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer

GOLDENS = Path(__file__).parents[1] / "goldens"
BERT, XLM_R, ROBERTA = "ms-marco-minilm-tiny", "bge-reranker-tiny", "jina-reranker-v1-tiny-tiny"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def folder_of(tmp_path: Path, golden: str, **config: Any) -> Path:
    """A golden's tokenizer, with keys of tokenizer_config.json changed; None takes one out."""
    for name in FILES:
        shutil.copy(GOLDENS / golden / name, tmp_path)
    path = tmp_path / "tokenizer_config.json"
    changed = json.loads(path.read_text("utf-8")) | config
    path.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}), "utf-8")
    return tmp_path


def normalise(folder: Path, **rules: Any) -> None:
    """Change the normaliser of tokenizer.json."""
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text("utf-8"))
    file["normalizer"] |= rules
    path.write_text(json.dumps(file), "utf-8")


def library(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_classes_with_token_types_are_those_of_the_library() -> None:
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    others = {"AlbertTokenizer", "DistilBertTokenizer", "MPNetTokenizer", "RobertaTokenizer"}
    others |= {"CamembertTokenizer", "TokenizersBackend", "XLMRobertaTokenizer"}
    found = {name: tokenizer_class_from_name(name) for name in WITH_TYPES | others}
    assert {n for n, c in found.items() if "token_type_ids" in c.model_input_names} == WITH_TYPES


@pytest.mark.parametrize(
    ("golden", "config"),
    [
        (BERT, {}),
        (BERT, {"tokenizer_class": None}),
        (BERT, {"tokenizer_class": "ElectraTokenizerFast"}),
        (BERT, {"tokenizer_class": "PreTrainedTokenizerFast"}),
        (BERT, {"tokenizer_class": "DistilBertTokenizer"}),
        (BERT, {"model_input_names": ["input_ids", "attention_mask"]}),
        (XLM_R, {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}),
        ("mxbai-rerank-tiny", {"tokenizer_class": None}),
    ],
)
def test_pairs_have_the_token_types_that_the_library_gives(
    tmp_path: Path, golden: str, config: dict[str, Any]
) -> None:
    folder = folder_of(tmp_path, golden, **config)
    theirs = library(folder)("a", "b").get("token_type_ids")
    assert gives_token_types(Checkpoint(folder)) == (theirs is not None)
    pair = TextTokenizer(Checkpoint(folder)).template(pair=True)
    assert list(pair.part_types) == ([0, 0] if theirs is None else [theirs[1], theirs[-2]])


@pytest.mark.parametrize(
    ("golden", "config", "rules", "says"),
    [
        (BERT, {"do_lower_case": None}, {"lowercase": False}, "do_lower_case is not there.*True"),
        (BERT, {"do_lower_case": True}, {"lowercase": False}, "do_lower_case is True"),
        (BERT, {}, {"strip_accents": False}, "strip_accents is not there.*None"),
        (BERT, {}, {"handle_chinese_chars": False}, "tokenize_chinese_chars is True"),
        (ROBERTA, {"add_prefix_space": True}, None, "add_prefix_space is True"),
        (BERT, {"split_special_tokens": True}, None, "split_special.*special_tokens to 'text'"),
    ],
)
def test_files_of_which_the_library_follows_one_are_refused(
    tmp_path: Path, golden: str, config: dict[str, Any], rules: dict[str, Any] | None, says: str
) -> None:
    folder = folder_of(tmp_path, golden, **config)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if rules:
        normalise(folder, **rules)
        ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Crème x日本x [SEP] a"
    assert library(folder)(text)["input_ids"] != ours.encode(text).ids
    with pytest.raises(ModelError, match=f"tokenizer_config.json: {says}"):
        TextTokenizer(Checkpoint(folder))


def test_what_the_library_leaves_as_tokenizer_json_has_it_is_taken(tmp_path: Path) -> None:
    """A tokenizer without a class of its own is read from tokenizer.json alone."""
    folder = folder_of(
        tmp_path, BERT, tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True
    )
    normalise(folder, lowercase=False)
    text = "Crème BRÛLÉE"
    ours = TextTokenizer(Checkpoint(folder)).encode([text]).token_ids.tolist()
    assert ours == library(folder)(text, add_special_tokens=False)["input_ids"]
    assert ours != TextTokenizer(Checkpoint(GOLDENS / BERT)).encode([text]).token_ids.tolist()


def test_accents_of_which_nothing_is_said_go_with_the_capitals(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BERT, do_lower_case=False)
    normalise(folder, lowercase=False, strip_accents=False)
    text = "Crème BRÛLÉE"
    ours = TextTokenizer(Checkpoint(folder)).encode([text]).token_ids.tolist()
    assert ours == library(folder)(text, add_special_tokens=False)["input_ids"]
    normalise(folder, strip_accents=True)
    with pytest.raises(ModelError, match="strip_accents is not there"):
        TextTokenizer(Checkpoint(folder))


def test_old_files_have_another_name_for_the_limit(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BERT, model_max_length=None, max_len=37)
    assert tokenizer_limit(Checkpoint(folder), None) == 37 == library(folder).model_max_length


def test_a_side_that_texts_are_cut_at_is_read_from_tokenizer_json_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BERT)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(9, direction="left")
    tokenizer.save(str(folder / "tokenizer.json"))
    assert library(folder).truncation_side == "left"
    ours = TextTokenizer(Checkpoint(folder))
    with pytest.raises(ModelError, match=r"tokenizer\.json: truncation_side 'left'"):
        tokenizer_limit(Checkpoint(folder), ours.truncation)


@pytest.mark.parametrize("value", [10**30, 1e30, None])
def test_a_limit_of_no_length_is_none(tmp_path: Path, value: Any) -> None:
    folder = folder_of(tmp_path, BERT, model_max_length=value)
    assert tokenizer_limit(Checkpoint(folder), None) is None
    assert library(folder).model_max_length >= 10**9


@pytest.mark.parametrize("key", ["model_max_length", "max_len"])
@pytest.mark.parametrize("value", [0, -1, 3, "512", 512.0, True, [512]])
def test_a_limit_that_is_none_is_refused_by_its_key(tmp_path: Path, key: str, value: Any) -> None:
    folder = folder_of(tmp_path, BERT)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("model_max_length", None)
    path.write_text(json.dumps(config | {key: value}))
    with pytest.raises(ModelError) as refused:
        tokenizer_limit(Checkpoint(folder), None)
    assert f"{path}: {key} {value!r}; expected a number of tokens from 4" in str(refused.value)
