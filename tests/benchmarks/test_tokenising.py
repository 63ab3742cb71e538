"""The benchmark of tokenising compares what it times, and would notice a difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import tokenising
from benchmarks.trained_tokenizers import tokenizer_of
from pipeline.tokenization.chunk_cache import ChunkCache
from pipeline.tokenization.cut_rules import CutRules
from pipeline.tokenization.tokens import TextTokenizer

TEXT = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize("kind", ["bert", "xlm_roberta", "modernbert", "llama3"])
def test_a_small_run_finds_no_difference(kind: str) -> None:
    tokenizers = tokenising.Tokenizers.of(tokenizer_of(kind, TEXT))
    found = tokenising.measure(kind, tokenizers, TEXT, pairs=300, reuse=10)
    summary = found.summary()
    assert (summary["pairs"], summary["differing"], summary["cached"]) == (300, 0, True)
    assert summary["tokens"] > 300 * 20
    assert summary["times_encode_batch"] > 0


def test_differing_ids_end_the_script_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = tmp_path / "tokenising.json"
    monkeypatch.setattr(tokenising, "_RESULT", result)
    monkeypatch.setattr(tokenising, "documentation", lambda: TEXT)
    asked = ["--pairs", "200", "--kind", "bert", "--write"]
    app = tokenising.typer.Typer()
    app.command()(tokenising.main)
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert json.loads(result.read_text())["differing"] == 0

    class Wrong(TextTokenizer):
        def __init__(self, checkpoint: object) -> None:
            super().__init__(checkpoint)  # type: ignore[arg-type]
            self.chunks = ChunkCache(
                self.library, CutRules(cuts=((LETTERS, LETTERS),), any_edge=True)
            )

    monkeypatch.setattr(tokenising, "TextTokenizer", Wrong)
    assert CliRunner().invoke(app, asked).exit_code == 1
    assert json.loads(result.read_text())["differing"] > 100
