"""What a model section says is used, or refused; and no name is too long to be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints import cards
from pipeline.checkpoints.naming import settled
from pipeline.config import ModelConfig
from pipeline.errors import ConfigurationError, NotFoundError

COMMIT = "0" * 40


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"adapter_revision": "v1"}, "model.adapter_revision: there is no model.adapter"),
        ({"revision": "v1"}, "model.revision: 'v1' is of a hub id, and .*FOLDER.* is none"),
        (
            {"adapter": "./adapter", "adapter_revision": "v1"},
            "model.adapter_revision: 'v1' is of a hub id, and './adapter' is none",
        ),
        ({"name": "lexical", "revision": "v1"}, "model.revision: this model has no weights"),
        ({"name": "lexical", "sha256": "0" * 64}, "model.sha256: this model has no weights"),
        ({"name": "lexical", "digest": "x"}, "model.digest: this model has no weights"),
        ({"name": "lexical", "adapter_revision": "v1"}, "there is no model.adapter"),
    ],
)
def test_what_would_not_be_used_is_refused(
    section: dict[str, Any], told: str, tmp_path: Path
) -> None:
    asked = {"name": str(tmp_path)} | section
    with pytest.raises(ConfigurationError, match=told.replace("FOLDER", tmp_path.name)):
        settled(ModelConfig(**asked))


def test_a_cards_revision_is_not_said_of_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = cards.read("jina-reranker-v1-tiny-en")
    assert card.revision is not None
    monkeypatch.chdir(tmp_path)
    Path(card.weights or "").mkdir(parents=True)
    once = settled(ModelConfig(name=card.name))
    assert (once.weights, once.revision) == (card.weights, None)
    assert settled(once) == once


def test_a_commit_of_a_hub_id_is_kept() -> None:
    asked = ModelConfig(family="cross_encoder", weights="owner/name", revision=COMMIT)
    assert settled(asked) == asked


@pytest.mark.parametrize("key", ["name", "weights", "adapter"])
@pytest.mark.parametrize("before", ["", "owner/", "./", "/", "~", "package:", "file://"])
@pytest.mark.parametrize("after", ["", ".yaml"])
def test_a_name_that_is_too_long_for_any_file_names_nothing(
    key: str, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = {"family": "cross_encoder", "weights": str(tmp_path)}
    given = base if key == "adapter" else {}
    given[key] = f"{before}{'a' * 300}{after}"
    with pytest.raises((ConfigurationError, NotFoundError), match=r"model\.(name|weights|adapter)"):
        settled(ModelConfig(**given))
