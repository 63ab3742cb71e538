"""Night after night an engine holds the whole table, and readers of an alias nothing between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.feeds import FeedConfig
from pipeline.errors import ConfigurationError, FeedError, InputContractError
from pipeline.outputs.feeds.support import finding
from pipeline.outputs.feeds.support.base import Feed
from tests.outputs.feeds.nights import (
    Driven,
    Night,
    changes,
    delivery_of,
    table,
    without_generation,
)
from tests.support.engines import Bulk, Engine, SolrCore, VespaContainer, listening

ENGINES: dict[str, tuple[type[Engine], dict[str, Any]]] = {
    "elasticsearch": (Bulk, {"kind": "elasticsearch", "alias": "ranked"}),
    "opensearch": (Bulk, {"kind": "opensearch", "alias": "ranked"}),
    "in_place": (Bulk, {"kind": "elasticsearch", "alias": "ranked", "deltas": "in_place"}),
    "vespa": (
        VespaContainer,
        {
            "kind": "vespa", "namespace": "serving", "document_type": "ranked",
            "cluster": "content",
        },
    ),
    "solr": (SolrCore, {"kind": "solr", "collection": "ranked"}),
}  # fmt: skip

#: Those whose readers see one generation or the other, and nothing between.
ATOMIC = {"elasticsearch", "solr"}

#: For tests that take long: one of the two that share their code.
DIFFERENT = [name for name in ENGINES if name != "opensearch"]

QUICK = {"attempts": 1, "backoff_s": 0, "timeout_s": 20, "connections": 1}

# Quotes, slashes, line breaks, separators of our own ids, marks of Unicode; no controls, which
# Vespa refuses.
IDS = st.text(st.sampled_from('a1:"\\/\n\t %#?&!é\u2028😀'), min_size=1, max_size=5)
SCORES = st.none() | st.floats(-1e6, 1e6, width=32)
COLORS = st.sampled_from([None, "red", "blau\n", 'x"y'])
NIGHTS = st.dictionaries(
    IDS, st.dictionaries(IDS, st.tuples(SCORES, COLORS), min_size=1, max_size=3), max_size=3
)
RARELY = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def build(engine: str, path: str, url: str | None = None, **others: Any) -> Feed:
    about = {"name": "serving", "path": path, "url": url, **ENGINES[engine][1], **QUICK, **others}
    return finding.build(FeedConfig.model_validate(about))


def deliver(feed: Feed, generation: int, base: int | None, before: Night, after: Night) -> Driven:
    parts = changes(before, after)
    return Driven(delivery_of(generation, base, parts), parts)


@pytest.mark.parametrize("kind", DIFFERENT)
@RARELY
@given(nights=st.lists(NIGHTS, min_size=1, max_size=4), max_rows=st.integers(1, 4))
def test_every_night_the_engine_holds_the_whole_table(
    kind: str, tmp_path_factory: pytest.TempPathFactory, nights: list[Night], max_rows: int
) -> None:
    path = str(tmp_path_factory.mktemp("feed"))
    engine = ENGINES[kind][0]()
    with listening(engine) as url:
        before: Night = {}
        for generation, night in enumerate(nights, start=1):
            feed = build(kind, path, url, max_rows=max_rows)
            base = feed.held()
            assert base == (generation - 1 or None)
            engine.seen.clear()
            deliver(feed, generation, base, before, night).go_on(feed)
            feed.close()
            assert without_generation(engine.visible()) == table(night)
            if kind in ATOMIC:
                allowed = [table(before), table(night)]
                assert all(without_generation(seen) in allowed for seen in engine.seen)
            before = night
    assert not isinstance(engine, Bulk) or len(engine.indexes) <= 2


NIGHT_1: Night = {
    "q1": {"a": (2.0, "red"), "b": (1.0, None), "c": (None, None)},
    "q2": {"a": (1.5, None)},
    "q3": {"d": (0.1, "red")},
}
NIGHT_2: Night = {
    "q1": {"b": (3.0, None), "a": (2.0, "blue")},
    "q3": {"d": (0.1, "red")},
    "q/4\n": {'"e"': (0.5, None)},
}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("before", [42, 3, 2])
@pytest.mark.parametrize("folder", ["one", "other"])
def test_a_full_load_replaces_what_another_series_of_publications_left(
    kind: str, before: int, folder: str, tmp_path: Path
) -> None:
    """Generations begin at 1 again in a new output folder, with the target as it was."""
    engine = ENGINES[kind][0]()
    with listening(engine) as url:
        for where, run_id, generation, night in (
            ("one", "a" * 16, before, NIGHT_1),
            (folder, "b" * 16, 3, NIGHT_2),
        ):
            feed = build(kind, str(tmp_path / where), url)
            driven = deliver(feed, generation, None, {}, night)
            Driven(replace(driven.delivery, run_id=run_id), driven.parts).go_on(feed)
            feed.close()
            assert without_generation(engine.visible()) == table(night)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DIFFERENT)
@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("base", [1, None])
def test_cut_off_at_any_request_and_run_again(
    kind: str, lost: str, base: int | None, tmp_path: Path
) -> None:
    """The connection breaks before, or after, each request of a delivery in turn."""
    steps = 0
    while True:
        steps += 1
        path, engine = str(tmp_path / str(steps)), ENGINES[kind][0]()
        with listening(engine) as url:
            feed = build(kind, path, url, max_rows=2)
            deliver(feed, 1, None, {}, NIGHT_1).go_on(feed)
            engine.seen.clear()
            driven = deliver(feed, 2, base, NIGHT_1 if base else {}, NIGHT_2)
            _break(engine, steps, lost)
            try:
                driven.go_on(feed)
                cut_off = False
            except FeedError:
                cut_off = True
            if cut_off:
                again = build(kind, path, url, max_rows=2)
                assert again.held() in (1, 2)
                driven.go_on(again)
                again.close()
            feed.close()
            all_served, engine.breaks_at = engine.breaks_at is not None, None
            assert without_generation(engine.visible()) == table(NIGHT_2)
            assert build(kind, path, url).held() == 2
            if kind in ATOMIC:
                allowed = [table(NIGHT_1), table(NIGHT_2)]
                assert all(without_generation(seen) in allowed for seen in engine.seen)
        if all_served:  # it was done before the connection would have broken
            break
    assert steps > 3


def _break(engine: Engine, at: int, lost: str) -> None:
    engine.breaks_at, engine.loses_answer = at, lost == "answer"


@pytest.mark.parametrize("kind", ENGINES)
def test_files_alone_are_what_a_loader_needs(kind: str, tmp_path: Path) -> None:
    engine = ENGINES[kind][0]()
    feed = build(kind, str(tmp_path), max_rows=2)
    assert feed.held() is None
    for generation, (before, after) in enumerate(
        [({}, NIGHT_1), (NIGHT_1, NIGHT_2), (NIGHT_2, NIGHT_1)], start=1
    ):
        deliver(feed, generation, feed.held(), before, after).go_on(feed)
        assert feed.held() == generation
        load(engine, tmp_path / f"{generation:09d}")
        assert without_generation(engine.visible()) == table(after)
    assert not isinstance(engine, Bulk) or len(engine.indexes) <= 2


def load(engine: Engine, folder: Path) -> None:
    """Load a generation by its manifest alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for request in manifest["before"]:
        ask(engine, request)
    for file in manifest["files"]:
        data = (folder / file["name"]).read_bytes()
        assert len(data) == file["bytes"]
        for how, body in requests_of(file["load"], data):
            reply = engine.answer(how["method"], how["path"], how["content_type"], body)
            assert reply is not None and reply[0] == 200 and not (reply[1].get("errors"))
    for request in manifest["after"]:
        ask(engine, request)


def requests_of(load: dict[str, Any], data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What ``vespa feed`` does with a file of operations; the file as it is for the others."""
    if load.get("command") != "vespa feed FILE":
        yield load, data
        return
    from urllib.parse import quote

    for line in data.splitlines():
        operation = json.loads(line)
        create = "?create=true" if operation.pop("create", False) else ""
        [verb] = set(operation) - {"fields"}
        document = operation.pop(verb).removeprefix("id:serving:ranked::")
        method = {"put": "POST", "update": "PUT", "remove": "DELETE"}[verb]
        path = f"/document/v1/serving/ranked/docid/{quote(document, safe='')}{create}"
        how = {"method": method, "path": path, "content_type": "application/json"}
        yield how, json.dumps(operation).encode()


def ask(engine: Engine, request: dict[str, Any]) -> None:
    body = json.dumps(request["body"]).encode() if "body" in request else b""
    kind = "application/json" if body else ""
    reply = engine.answer(request["method"], request["path"], kind, body)
    assert reply is not None and (reply[0] == 200 or reply[0] in request.get("accept", []))


@pytest.mark.parametrize("kind", ENGINES)
def test_files_hold_no_more_than_they_may(kind: str, tmp_path: Path) -> None:
    night: Night = {f"q{n}": {f"d{i}": (float(i), "red" * 20) for i in range(9)} for n in range(9)}
    feed = build(kind, str(tmp_path), max_bytes=2_000, max_rows=7)
    deliver(feed, 1, None, {}, night).go_on(feed)
    manifest = json.loads((tmp_path / "000000001" / "manifest.json").read_text())
    assert max(file["rows"] for file in manifest["files"]) <= 7
    assert max(file["bytes"] for file in manifest["files"]) <= 2_000
    assert sum(file["rows"] for file in manifest["files"]) == 81


@pytest.mark.parametrize("kind", ENGINES)
def test_a_busy_engine_is_asked_again(kind: str, tmp_path: Path) -> None:
    engine = ENGINES[kind][0]()
    with listening(engine) as url:
        feed = build(kind, str(tmp_path), url, attempts=4, backoff_s=0.01)
        engine.busy = 2
        if isinstance(engine, Bulk):
            engine.busy_items = 3
        deliver(feed, 1, None, {}, NIGHT_1).go_on(feed)
        feed.close()
    assert without_generation(engine.visible()) == table(NIGHT_1)


def test_an_operation_that_is_refused_is_named(tmp_path: Path) -> None:
    engine = Bulk()
    with listening(engine) as url:
        feed = build("elasticsearch", str(tmp_path), url)
        with pytest.raises(FeedError, match=r"'2:q1:a': document_parsing_exception: of 2:q1:a"):
            deliver(feed, 1, None, {}, {"q1": {"a": (1.0, "refused")}}).go_on(feed)
        feed.close()
    assert engine.aliases == {}


def test_an_alias_of_others_is_left_alone(tmp_path: Path) -> None:
    engine = Bulk()
    engine.answer("PUT", "/theirs", "application/json", b'{"mappings": {}}')
    engine.aliases["ranked"] = "theirs"
    with listening(engine) as url, pytest.raises(FeedError, match="which this feed did not make"):
        build("elasticsearch", str(tmp_path), url).held()


def test_the_secret_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Bulk()
    with listening(engine) as url:
        feed = build("elasticsearch", str(tmp_path), url, authorization_env="SERVING_KEY")
        with pytest.raises(ConfigurationError, match="SERVING_KEY is not set"):
            feed.held()
        monkeypatch.setenv("SERVING_KEY", "ApiKey abcdefgh")
        feed.held()
    assert engine.headers[-1]["Authorization"] == "ApiKey abcdefgh"


def test_a_text_that_vespa_refuses_is_named(tmp_path: Path) -> None:
    feed = build("vespa", str(tmp_path))
    with pytest.raises(InputContractError, match=r"holds U\+0007"):
        deliver(feed, 1, None, {}, {"q\a": {"d": (1.0, None)}}).go_on(feed)


def test_settings_are_checked_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"feeds\.serving\.aliass"):
        build("elasticsearch", str(tmp_path), aliass="x")
    with pytest.raises(ConfigurationError, match="did you mean 'elasticsearch'"):
        build("elasticsearch", str(tmp_path), kind="elastic_search")
    with pytest.raises(ValidationError, match="credentials"):
        build("elasticsearch", str(tmp_path), "https://user:secret@search:9200")
    feed = build("elasticsearch", str(tmp_path), columns=["colour"])
    with pytest.raises(ConfigurationError, match="no column 'colour' is carried"):
        deliver(feed, 1, None, {}, NIGHT_1).go_on(feed)
