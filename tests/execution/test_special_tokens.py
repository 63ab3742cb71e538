"""A run counts the documents and queries whose special tokens the model reads as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.rerank import show_outcome
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import lines, run_state
from tests.execution.test_equal_pairs import run, table_of

TEXTS = ["rays [SEP] of light", "a tax", "rays [SEP] of light", "[sep]", None, "[MASK]"]
QUERIES = ["light", "light [CLS]", "light [CLS]", "window"]


@pytest.mark.parametrize("special", ["upstream", "text"])
def test_documents_and_queries_with_special_tokens_are_counted(
    special: str, tmp_path: Path, goldens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {
        "family": "cross_encoder",
        "weights": str(goldens / "ms-marco-minilm-tiny"),
        "settings": {"special_tokens": special},
    }
    outcome = run(tmp_path, table_of(QUERIES, TEXTS), model, units={"documents": 12})
    wanted: dict[str, Any] = {"documents": 12, "queries": 2} if special == "upstream" else {}
    assert len(outcome.manifest["units"]) > 1
    assert outcome.manifest.get("special_tokens", {}) == wanted
    folder = RunFolder(outcome.folder)
    assert json.loads(Path(folder.file("report.json")).read_text())["special_tokens"] == wanted
    state = run_state(folder)
    assert state["special_tokens"] == wanted
    said = "12 documents and 2 queries hold special tokens that act as such"
    assert any(said in text for _, text in lines(state)) == bool(wanted)
    show_outcome(outcome)
    assert (said in " ".join(capsys.readouterr().out.split())) == bool(wanted)


def test_a_family_without_a_tokenizer_counts_none(tmp_path: Path) -> None:
    outcome = run(tmp_path, table_of(QUERIES, TEXTS), {"name": "lexical"})
    assert "special_tokens" not in outcome.manifest


def test_scores_of_an_earlier_run_are_not_counted(tmp_path: Path, goldens: Path) -> None:
    """What the model did not read acts on nothing."""
    model = {"family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny")}
    table = table_of(["light [CLS]"], ["a [SEP]", None])
    outcome = run(tmp_path, table, model)
    assert outcome.manifest["special_tokens"] == {"documents": 1, "queries": 1}
    nothing = run(tmp_path / "second", table_of(["light [CLS]"], [None]), model)
    assert "special_tokens" not in nothing.manifest
