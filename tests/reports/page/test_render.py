"""A page with data from a hostile world: nothing in it runs, turns, fetches or breaks out."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.plain_text import visible
from pipeline.reports.page.render import render
from pipeline.sequences.lengths import LengthHistogram

SCRIPT = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>"
BIDI = "\u202egnp.exe\u2066\u200b\ufeff"
LONG = "t" * 10_000
VOID = {"meta", "link", "br", "img"}
MAY_REFER = {("a", "href"), ("use", "href"), ("link", "href")}


class Page(HTMLParser):
    """Elements and attributes of a page, whose elements must all be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)


def data(text: str) -> dict[str, Any]:
    """The data of a page that says everything that a page can say, with ``text`` for all texts."""
    document = {
        "doc_id": text, "text": text, "rank": 3, "first_stage_rank": 1, "score": 0.5,
        "relevance": 1,
    }  # fmt: skip
    query = {
        "query_id": text, "before": 0.1, "after": 0.5, "judged_before": 0.0, "judged_after": 1.0,
    }  # fmt: skip
    measured = {
        "run": text, "queries": 4, "missing_queries": [text], "unjudged_queries": 1,
        "lists_without_judged": 1, "judged_at_10": 0.5, "means": {"nDCG@10": 0.5},
        "intervals": {"nDCG@10": [0.4, 0.6]},
    }  # fmt: skip
    compared = {
        "baseline": 0.5, "other": 0.5, "difference": 0.1, "wins": 1, "ties": 2, "losses": 1,
        "p_t_test": None, "p_randomization": 0.0001, "biggest_wins": [], "biggest_losses": [],
    }  # fmt: skip
    return {
        "made": 1.8e9, "folder": f"/runs/{text}", "run_id": "0" * 16, "state": "failed",
        "error": {"kind": text, "message": text},
        "run": {
            "model": {
                "name": text, "family": text, "revision": text, "digest": text, "dtype": text,
                "score_scale": text, "licence": text,
            },
            "config": {
                "input": {"path": [text]}, "output": {"path": text}, "replicas": {"num_gpus": 1},
            },
            "fingerprint": "f",
            "versions": {text: text}, "units": {"documents": 5, "reason": text},
            "staging": {"strategy": text}, "reuse": {"table_id": text, "date": text},
            "input": [{"path": text, "size": 5, "version": text}], "input_files": 2,
            "input_bytes": 10_000_000,
        },
        "units_planned": 3, "documents_planned": 100,
        "totals": {
            "units_committed": 2, "queries": 5, "documents": 50, "tokens": 5000, "quarantined": 3,
            "reused": 4, "reasons": {text: 3}, "special_tokens": {"documents": 3},
        },
        "report": {
            "state": text, "started": 1.8e9, "ended": 1.8e9, "units_done_now": 2, "seconds": 5.0,
            "units_done_before": 1, "documents_per_s": 10.0, "place": text, "device_busy": 0.1,
            "unit_seconds": {"p50": 1.0, "p95": 2.0}, "startup": {text: 1.0},
            "cpu_seconds": {text: 1.0}, "storage": {text: 1}, "units_suspected": {text: text},
            "units_repaired": [text], "units_not_deterministic": [text], "single_driver": True,
            "rescored_in_float32": 3, "engine": {"halved": 1},
            "sessions": [
                {
                    "started": 1.8e9, "state": text, "error": {"message": text},
                    "units_done_now": 1, "seconds": 1.0, "documents_per_s": 1.0,
                }
            ],
        },
        "stage_seconds": {}, "lengths": {}, "truncation": {"documents": 50, "truncated": 40},
        "spent": {"gpu_hours": 1.0, "cost": [1.0, 2.0], "currency": text},
        "results": {
            "sample": {
                "units": 1, "of_units": 2, "documents": 20, "of_documents": 50, "lists": 4,
                "unreadable": 1,
            },
            "scores": None, "ranks": None,
            "ties": {"documents": 3, "lists_in_first_ten": 2, "constant_lists": 1, "lists": 4},
        },
        "quarantine_examples": {text: [{"query_id": text, "doc_id": text, "message": text}]},
        "examples": [
            {
                "query_id": text, "query": text, "documents": 5, "before": 0.1, "after": 0.5,
                "first_stage": [document], "reranked": [document],
            }
        ] * 5,
        "examples_note": text,
        "evaluation": {
            "evaluations": [measured, measured], "measure": "nDCG@10", "interval": [-0.1, 0.1],
            "comparisons": [{"baseline": text, "other": text, "queries": 4,
                             "measures": {"nDCG@10": compared}}],
            "changes": [], "wins": [query], "losses": [query], "unseen": [text],
        },
        "comparison": None,
    }  # fmt: skip


def with_pictures(text: str) -> dict[str, Any]:
    """The same with what pictures are drawn from, and another run."""
    timeline = {
        "elapsed_s": [0.0, 10.0, 20.0, 30.0],
        "documents_per_s": [0.0, 5.0, 6.0, 7.0],
        "replicas_up": [0, 1, 1, 2],
        "replicas_starting": [2, 1, 1, 0],
        "device_busy": [None, 0.5, 0.75, 1.0],
    }
    found = data(text)
    found["report"]["timeline"] = timeline
    found["stage_seconds"] = {"read": 1.0, "wait_for_replica": 2.0, "score": 5.0}
    found["lengths"] = LengthHistogram.of([0, 5, 50, 500, 2**21]).as_dict()
    found["results"] |= {
        "scores": {
            "edges": [0.0, 1.0, 2.0], "all": [3, 4], "first": [0, 1],
            "quantiles": {"0": 0.0, "0.5": 1.0, "1": 2.0},
        },
        "ranks": {
            "bands": ["1", "2–3"], "came_from": [3, 4], "moved": {"0.5": 1.0, "0.9": 2.0},
            "first_kept": 0.5, "compared": 4, "rbo": 0.5, "overlap": 0.5, "tau": 0.99,
        },
    }  # fmt: skip
    found["evaluation"]["changes"] = [-0.5, 0.0, 0.5]
    found["comparison"] = {
        "other": {"folder": text, "run_id": text, "model": text, "revision": text},
        "sampled": True, "lists": 5, "only_here": 1, "first_kept": 0.5, "new_in_ten": 2.0,
        "overlap": [0] * 10 + [5], "rbo": 0.9, "documents": {"both": 9, "new": 1, "gone": 1},
        "movers": [
            {"query_id": text, "doc_id": text, "before": 9, "after": 1, "score_before": None,
             "score_after": 0.5}
        ],
    }  # fmt: skip
    return found


def harmless(html: str) -> Page:
    """The page, looked through."""
    page = Page(html)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "img", "form", "input", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            assert "http:" not in value or name.startswith("xmlns")
            if name in {"href", "src", "xlink:href"}:
                assert (tag, name) in MAY_REFER
                assert value == "data:," or (value[0] == "#" and value[1:] in ids)
            for reference in re.findall(r"url\(#(.*?)\)", value):
                assert reference in ids
    [policy] = [a["content"] for _, a in page.elements if "Content-Security-Policy" in a.values()]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert visible(html, keep="\n") == html
    return page


@pytest.fixture(scope="module")
def drawn() -> str:
    return render(with_pictures(f"{SCRIPT} {BIDI} {LONG}"))


def test_a_page_of_everything_is_harmless(drawn: str) -> None:
    page = harmless(drawn)
    pictures = [a for tag, a in page.elements if tag == "svg"]
    assert len(pictures) == 8
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


def test_one_of_a_thing_is_not_several(drawn: str) -> None:
    said = " ".join("".join(Page(drawn).texts).split())
    for words in (
        "1 list holds no judged document", "1 query, each counted as 0",
        "1 query, which counts nowhere", "1 earlier session", "1 batch did not fit", "1 unit had",
    ):  # fmt: skip
        assert words in said
    assert not re.search(r"(?<![\d,.])1 (units|queries|lists|documents|files|sessions)\b", said)


def test_marks_that_turn_text_are_shown_and_long_texts_are_cut(drawn: str) -> None:
    said = "".join(Page(drawn).texts).partition("Configuration")[0]  # which is folded, and whole
    assert "\\u202egnp.exe\\u2066\\u200b\\ufeff" in said
    assert "<script>alert(1)</script>" in said
    longest = max(len(run) for run in re.findall("t+", said))
    assert longest <= 4_000
    assert re.search(r"and 6,\d\d\d more characters", said)


def test_pictures_follow_the_readers_colours(drawn: str) -> None:
    painted = {
        value
        for tag, attributes in Page(drawn).elements
        if tag in {"path", "text", "use", "rect", "g"}
        for name, value in attributes.items()
        if name in {"fill", "stroke"}
    }
    assert painted <= {"none"} | {
        f"var(--{name})" for name in ("ink", "muted", "grid", "first", "second", "good", "bad")
    }


def test_credentials_are_not_on_a_page() -> None:
    html = render(data("s3://key:verysecretvalue@bucket/x?X-Amz-Signature=verysecretvalue"))
    assert "verysecretvalue" not in html
    assert "s3://***@bucket" in html


@cache
def kinds(text: str) -> list[str]:
    """Elements of a page, but for those that cut long texts."""
    page = harmless(render(data(text)))
    return [tag for tag, _ in page.elements if tag not in {"details", "summary", "bdi"}]


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=400))
def test_no_text_breaks_out(text: str) -> None:
    """The elements are the same whatever the texts are."""
    assert kinds(text) == kinds("x")


@pytest.mark.parametrize("state", ["published", "running", "interrupted"])
def test_a_run_of_nothing_has_a_page(state: str) -> None:
    empty = data("x") | {
        "state": state, "error": None, "report": {}, "results": None, "examples": [],
        "quarantine_examples": {}, "examples_note": None, "evaluation": None, "truncation": None,
        "spent": {"gpu_hours": None, "cost": None, "currency": None},
        "totals": {
            "units_committed": 0, "queries": 0, "documents": 0, "tokens": 0, "quarantined": 0,
            "reused": None, "reasons": {}, "special_tokens": {},
        },
    }  # fmt: skip
    said = "".join(harmless(render(empty)).texts)
    assert "no session has ended yet" in said
    assert ("rerank resume" in said) == (state == "interrupted")
    assert ("What to do" in said) == (state == "interrupted")


def test_every_class_of_error_says_what_to_do() -> None:
    """A class that is added is thought of here as well."""
    from pipeline import errors
    from pipeline.reports.page import advice

    of_runs = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.RerankError)
    } - {
        # These end no run: a base, other commands', and what happens before a session begins.
        "RerankError", "DamagedSetError", "FeedError", "GateError", "LeaseHeldError",
        "PublishedMeanwhileError",
    }  # fmt: skip
    assert of_runs <= advice._BY_KIND.keys()


def test_style_and_template_are_installed_with_the_package() -> None:
    patterns = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert '"**/*.j2", "**/*.css"' in patterns
