"""The data card: what it must say, and that it says it the same way every time."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from pipeline.distillation.sets.data_card import CANDIDATES, SCORES, licence_notes, make_card
from tests.distillation.formats.makers import item, query


def teacher(name: str, licence: str) -> dict[str, str]:
    return {
        "name": name,
        "revision": "0123abc",
        "digest": "f" * 64,
        "licence": licence,
        "score_scale": "logit",
        "run_id": "run1",
    }


def manifest(**changes: Any) -> dict[str, Any]:
    moments = {"count": 40, "mean": 0.5, "std": 0.25, "low": -1.0, "high": 2.0}
    return {
        "set_id": "0123456789abcdef",
        "teachers": [teacher("strong", "Apache-2.0"), teacher("open", "CC-BY-NC-4.0")],
        "combination": {"method": "mean", "score_scale": "logit"},
        "rules": {"negatives": {"num_negatives": 2, "relative_margin": 0.05}},
        "queries": 12,
        "candidates": 1_240,
        "splits": {
            "dev": {"queries": 2, "positives": 2, "negatives": 4},
            "train": {"queries": 8, "positives": 9, "negatives": 16},
        },
        "sources": {"qrels": 7, "teacher": 4},
        "queries_rejected": {"no_positive": 2},
        "candidates_rejected": {"not_sampled": 900, "relative_margin": 300},
        "coverage": {"teachers": [{"name": "strong", "unscored": 3, "extra": 0}]},
        "scores": moments,
        "list_spread": moments,
        "temperature": {"suggested": 0.31, "rule": "mean spread within a list"},
        "histograms": {
            "candidates": [10, 1_000, 230],
            "positives": [0, 1, 10],
            "negatives": [2, 15, 3],
        },
        "histogram_edges": [-1.0, 0.0, 1.0, 2.0],
    } | changes


EXPORTS = {
    "flag_embedding": {
        "consumer": "FlagEmbedding",
        "splits": {"train": {"rows": 8, "queries": 8}, "dev": {"rows": 2, "queries": 2}},
        "left_out": {"image_not_carried": 5},
    }
}
EXAMPLE = query(
    "q1",
    [item("d1", 1.25, relevance=2, source="qrels", text="line one\nline | two <b>")],
    [item("d2", None, text="x" * 500), item("d3", 0.5, text=None, image_uri="s3://b/p.png")],
)


def test_it_names_counts_teachers_rules_reasons_exports_and_examples() -> None:
    card = make_card(manifest(), exports=EXPORTS, examples=[EXAMPLE]).markdown
    for line in (
        "| train | 8 | 9 | 16 |",
        "Out of 12 queries with 1,240 candidates. Positives come from qrels (7) and teacher (4).",
        "| strong | 0123abc | ffffffffffff | logit | run1 | Apache-2.0 |",
        "  relative_margin: 0.05",
        "| 900 | `not_sampled` | allowed, but negatives.num\\_negatives were found before it |",
        "| 2 | `no_positive` | no document is a positive by the rules |",
        "| `flag_embedding` | FlagEmbedding | 8 | 2 | 5 documents exported with their text, but "
        "not with their image |",
        "Suggested temperature: **0.31**. It is the mean spread within a list.",
        "- strong: 3 candidates without a score, 0 scored that stand in no list.",
        "| positive (qrels) | 1.25 | d1 | line one line \\| two &lt;b&gt; |",
        "| negative | 0.5 | d3 | (an image) |",
    ):
        assert line in card.splitlines() or any(one.strip() == line for one in card.splitlines())
    assert card.index("| train |") < card.index("| dev |")
    assert "x" * 240 + " …" in card
    assert "x" * 241 not in card


def test_non_commercial_teachers_are_named() -> None:
    card = make_card(manifest()).markdown
    assert "- **open is for non-commercial use** (CC-BY-NC-4.0)." in card
    assert "strong is for non-commercial use" not in card


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("CC-BY-NC-4.0", "non_commercial"),
        ("cc_by_nc_sa", "non_commercial"),
        ("Non-commercial research only", "non_commercial"),
        ("noncommercial", "non_commercial"),
        ("Apache-2.0", "free"),
        ("MIT", "free"),
        ("NCSA", "free"),
        ("", "unknown"),
    ],
)
def test_licences_are_told_apart(licence: str, kind: str) -> None:
    assert licence_notes([teacher("t", licence)])[0]["kind"] == kind


def test_an_unknown_licence_is_said_to_be_unknown() -> None:
    card = make_card(manifest(teachers=[teacher("mine", "")])).markdown
    assert "**The licence of mine is not known**" in card


def test_a_set_without_exports_or_spread_has_a_card_too() -> None:
    changes = {"temperature": {"suggested": None, "rule": ""}, "queries_rejected": {}}
    card = make_card(manifest(**changes)).markdown
    assert "None yet: `rerank export` writes them." in card
    assert "No temperature can be suggested" in card
    assert "Queries: all are in the set." in card


def test_the_json_says_what_the_markdown_says() -> None:
    data = json.loads(json.dumps(make_card(manifest(), exports=EXPORTS, examples=[EXAMPLE]).data))
    assert data["splits"]["train"]["queries"] == 8
    assert data["rejected"]["candidates"][0]["reason"] == "not_sampled"
    assert data["licences"][1] == {
        "teacher": "open", "licence": "CC-BY-NC-4.0", "kind": "non_commercial",
    }  # fmt: skip
    assert data["histograms"]["edges"] == [-1.0, 0.0, 1.0, 2.0]
    assert data["exports"]["flag_embedding"]["left_out"][0]["count"] == 5
    assert data["examples"][0]["negatives"][1]["text"] == "(an image)"


def test_pictures_show_what_the_histograms_hold() -> None:
    card = make_card(manifest())
    assert set(card.pictures) == {SCORES, CANDIDATES}
    for name, data in card.pictures.items():
        assert f"](card/{name})" in card.markdown
        picture = Image.open(BytesIO(data)).convert("RGB")
        assert picture.width > 600
        assert len(picture.getcolors(1 << 24) or []) > 20
    empty = {"candidates": [0, 0, 0], "positives": [0, 0, 0], "negatives": [0, 0, 0]}
    other = make_card(manifest(histograms=empty))
    assert all(other.pictures[name] != card.pictures[name] for name in card.pictures)


def test_the_same_set_gives_the_same_card() -> None:
    first, again = (make_card(manifest(), exports=EXPORTS, examples=[EXAMPLE]) for _ in range(2))
    assert first == again
