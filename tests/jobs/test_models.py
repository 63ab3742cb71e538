"""Cards of the user's own: written, found, checked against the weights, used by every command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from pipeline.api import load
from pipeline.checkpoints import cards
from pipeline.checkpoints.naming import settled
from pipeline.cli import app
from pipeline.config import ModelConfig
from pipeline.errors import ConfigurationError, ModelError
from tests.makers import long_table, write

FAMILIES = {
    "ms-marco-minilm-tiny": "cross_encoder",
    "qwen3-reranker-tiny": "qwen3_reranker",
    "jina-reranker-v3": "jina_v3",
}


def rerank(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def weights(goldens: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    shutil.copytree(goldens / "ms-marco-minilm-tiny", folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    return folder


@pytest.fixture
def card(weights: Path, tmp_path: Path) -> Path:
    done = rerank(
        "models", "add", "mine", "--weights", weights, "--to", tmp_path / "ours",
        "--settings", "max_length=128", "--settings", "activation=sigmoid",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return tmp_path / "ours" / "mine.yaml"


def change(weights: Path) -> None:
    tensors = load_file(weights / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(0.5)
    save_file(tensors, weights / "model.safetensors")


def job(tmp_path: Path, name: str) -> Path:
    source = write(tmp_path / "in.parquet", long_table(queries=3))
    data = {
        "model": {"name": name},
        "input": {"path": str(source)},
        "output": {"path": str(tmp_path / "out")},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(data))
    return tmp_path / "job.yaml"


def test_a_card_says_what_the_files_say(card: Path, weights: Path) -> None:
    written = cards.read(str(card))
    assert (written.family, written.weights) == ("cross_encoder", str(weights))
    assert (written.licence, written.licence_source) == ("cc-by-4.0", "README.md of the checkpoint")
    assert (written.score_scale, written.max_tokens) == ("probability", 128)
    assert written.settings["max_length"] == 128
    [example] = written.examples
    assert "CPU float32" in example.source
    assert any(not document for _, document in example.pairs)
    assert max(len(document) for _, document in example.pairs) > 2_000


@pytest.mark.parametrize("golden", FAMILIES)
def test_every_example_is_verified_later(goldens: Path, tmp_path: Path, golden: str) -> None:
    """Pointwise and listwise, as logits, probabilities and cosines."""
    words = ["models", "add", "mine", "--weights", goldens / golden, "--to", tmp_path]
    added = rerank(*words, "--family", FAMILIES[golden])
    assert added.exit_code == 0, added.output
    done = rerank("verify", tmp_path / "mine.yaml")
    assert done.exit_code == 0, done.output
    assert done.output.count("pass") > 5


def test_other_weights_are_refused_with_both_digests(card: Path, weights: Path) -> None:
    before = cards.read(str(card)).digest
    change(weights)
    with pytest.raises(ModelError, match=rf"digest of its .* expected {before}"):
        load(card)
    for words in (["plan", "-c", job(card.parent, str(card))], ["verify", card]):
        done = rerank(*words)
        assert done.exit_code == 4, done.output
        assert str(before) in done.output
    failed = rerank("verify", card, "--weights", weights)
    assert failed.exit_code == 4
    assert "1 of 1 examples" in failed.output


def test_a_run_with_a_card_goes_on_without_it(card: Path, tmp_path: Path) -> None:
    done = rerank("run", "-c", job(tmp_path, str(card)))
    assert done.exit_code == 0, done.output
    [run] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    described = json.loads((run / "run.json").read_text())
    assert (described["model"]["name"], described["model"]["licence"]) == ("mine", "cc-by-4.0")
    assert described["config"]["model"]["digest"] == described["model"]["digest"]
    (run / "_SUCCESS").unlink()
    card.unlink()
    resumed = rerank("resume", run)
    assert resumed.exit_code == 0, resumed.output


def test_a_folder_of_cards(card: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cards.MODELS, str(card.parent))
    assert "mine" in {one["name"] for one in json.loads(rerank("models", "--json").output)}
    assert load("mine").score("a", ["b"]).dtype == np.float32
    assert rerank("plan", "-c", job(tmp_path, "mine")).exit_code == 0
    section = settled(ModelConfig(name="mine"))
    monkeypatch.delenv(cards.MODELS)
    assert settled(section) == section  # what a run keeps does not need the environment
    monkeypatch.setenv(cards.MODELS, str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="RERANK_MODELS: no folder"):
        cards.names()
    monkeypatch.setenv(cards.MODELS, str(card.parent))
    shutil.copy(card, card.parent / "lexical.yaml")
    with pytest.raises(ConfigurationError, match=r"lexical.*is the name of a card that is shipped"):
        cards.names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", "is there already"),
        ("lexical", "is a card that is shipped"),
        ("../mine", "expected small letters"),
        ("Mine", "expected small letters"),
        ("", "expected small letters"),
    ],
)
def test_names_that_are_refused(card: Path, weights: Path, name: str, message: str) -> None:
    done = rerank("models", "add", name, "--weights", weights, "--to", card.parent)
    assert done.exit_code == 2
    assert message in done.output


def test_a_card_never_runs_code(card: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(card.read_text())
    card.write_text(yaml.safe_dump(data | {"family": "theirs.lengths"}))
    with pytest.raises(ConfigurationError, match="code of its own"):
        load(card)
    card.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigurationError, match=r"not valid YAML|tag"):
        load(card)
    with pytest.raises(ConfigurationError, match=r"no file .*is the file of a model card"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "other.yaml").write_text("name: mine\nfamily: lexical\nscore_scale: x\nlicence: y")
    with pytest.raises(ConfigurationError, match="'name' is 'mine', expected the file's 'other'"):
        load(tmp_path / "other.yaml")
