from __future__ import annotations

from pathlib import Path

from benchmarks.synthetic_passages import Passages, units

TEXT = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_lists_repeat_their_documents() -> None:
    passages = Passages(TEXT, [], seed=1)
    (lists,) = units(passages, 300, 10)
    texts = lists.documents.column("text").to_pylist()
    assert lists.offsets.tolist() == [0, 100, 200, 300]
    assert [texts.count(text) for text in texts] == [10] * 300
    assert len(list(units(passages, 12_000, 1))) == 3
