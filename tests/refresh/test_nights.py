"""Nights one after the other give what full runs give, and the model is shown only what is new."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.refresh.collections import Collection, generated, real
from tests.refresh.season import Season, rows

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.usefixtures("believed_store")


def equal(found: pa.Table, wanted: pa.Table) -> None:
    """Row for row, with the same bits."""
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        assert found.column(name).equals(wanted.column(name)), name


@pytest.fixture(params=["generated", "noveleval"])
def first(request: pytest.FixtureRequest) -> Collection:
    if request.param == "generated":
        return generated()
    path = DATA / request.param / "candidates.parquet"
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/{request.param}")
    return real(path, queries=8)


def test_every_night_is_what_a_full_run_gives_and_scores_only_what_is_new(
    first: Collection, season: Season
) -> None:
    nights = [first]
    for number, share in enumerate([0.01, 0.05, 0.30], start=1):
        changed = nights[-1].with_texts(share, seed=number)
        changed = changed.with_candidates(added=3, removed=2, seed=number)
        nights.append(changed.with_queries(added=1, removed=1, seed=number))
    known: set[tuple[str, str]] = set()
    for number, collection in enumerate(nights):
        done = season.night(collection, number)
        shown = season.shown()
        pairs = collection.pairs()
        assert len(shown) == len(set(shown))
        assert set(shown) == pairs - known, f"night {number}"
        equal(rows(done.outcome.folder), season.full(collection, number))
        assert done.publication.sequence == number + 1
        known = pairs
    assert done.table.counts["documents"]["reuse"] > 0


def test_a_title_alone_is_a_change_where_it_is_scored(season: Season) -> None:
    first = generated()
    season.night(first, 0)
    season.shown()
    [doc_id, *_] = first.lists["q000"]
    second = first.with_title(doc_id, "quite another title")
    season.night(second, 1)
    assert set(season.shown()) == second.pairs() - first.pairs()


def test_another_order_of_the_first_stage_needs_no_model(season: Season) -> None:
    first = generated()
    season.night(first, 0)
    season.shown()
    second = first.reordered(seed=5)
    done = season.night(second, 1)
    assert season.shown() == []
    equal(rows(done.outcome.folder), season.full(second, 1))
    assert done.table.counts["documents"]["reuse"] == second.table().num_rows


def test_a_list_is_reused_as_a_whole_where_the_model_sees_whole_lists(
    goldens: Path, season: Season
) -> None:
    season.model = {"family": "jina_v3", "weights": str(goldens / "jina-reranker-v3")}
    first = generated(queries=8, documents=200)
    one = season.night(first, 0)
    # One text of one list, the order of another, and a list that is longer.
    changed, reordered, longer, *_ = sorted(first.lists)
    second = first.with_text(first.lists[changed][0], "a text that is new")
    lists = second.lists | {reordered: second.lists[reordered][::-1]}
    lists[longer] = (*lists[longer], "d199")
    second = replace(second, lists=lists)
    two = season.night(second, 1)
    assert two.table.counts["lists"] == {
        "reuse": 5, "rescore": 3, "new": 0, "unscorable": 0, "gone": 0
    }  # fmt: skip
    touched = {changed, reordered, longer}
    fresh = sum(len(second.lists[name]) for name in touched)
    assert two.outcome.manifest["documents"] - two.outcome.reused == fresh
    found, wanted = rows(two.outcome.folder), season.full(second, 1)
    close(found, wanted)
    before = by_pair(rows(one.outcome.folder))
    for pair, score in by_pair(found).items():
        if pair[0] not in touched:
            assert score == before[pair]


def test_other_weights_at_the_same_address_are_scored_anew_and_the_plan_says_so(
    goldens: Path, season: Season
) -> None:
    from safetensors.numpy import load_file, save_file

    weights = season.folder / "weights"
    shutil.copytree(goldens / "ms-marco-minilm-tiny", weights)
    season.model = {"family": "cross_encoder", "weights": str(weights)}
    collection = generated(queries=5)
    season.night(collection, 0)
    state = load_file(weights / "model.safetensors")
    name = next(name for name in state if name.endswith("classifier.weight"))
    save_file(state | {name: state[name] * 2}, weights / "model.safetensors")
    done = season.night(collection, 1)
    assert done.table.why is not None
    assert done.table.why.startswith("the model's weights changed since run ")
    assert done.outcome.reused == 0
    close(rows(done.outcome.folder), season.full(collection, 1))
    # What is reused in the third night is of the new weights.
    third = season.night(collection, 2)
    assert third.outcome.reused == collection.table().num_rows


def test_everything_is_scored_anew_where_that_is_asked_for(season: Season) -> None:
    collection = generated(queries=5)
    season.night(collection, 0)
    season.shown()
    done = season.night(collection, 1, full=True)
    assert set(season.shown()) == collection.pairs()
    assert done.table.why == "--full was given"


def test_scores_are_made_anew_when_they_are_due_and_never_get_older(season: Season) -> None:
    season.section["max_age_days"] = 3
    collection = generated(queries=20)
    season.night(collection, 0)
    season.shown()
    due = []
    for number in (1, 2, 3):
        season.night(collection, number)
        due.append({query for query, _ in season.shown()})
    assert set().union(*due) == set(collection.queries.values())
    assert sum(map(len, due)) == len(collection.queries)
    assert all(due)


def close(found: pa.Table, wanted: pa.Table) -> None:
    """Row for row; scores within what another batch may change in the last digits."""
    equal(found.drop_columns("score"), wanted.drop_columns("score"))
    scores = (table.column("score").to_numpy() for table in (found, wanted))
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def by_pair(table: pa.Table) -> dict[tuple[str, str], float]:
    names = ("query_id", "doc_id", "score")
    queries, documents, scores = (table.column(name).to_pylist() for name in names)
    return dict(zip(zip(queries, documents, strict=True), scores, strict=True))
