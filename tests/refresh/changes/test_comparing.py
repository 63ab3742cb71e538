"""Changes applied to the old table give the new one, whatever the two hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.refresh.changes.comparing import Compared, compare
from pipeline.refresh.changes.layout import layout_of
from pipeline.refresh.changes.statistics import Moments, Statistics, summary
from tests.refresh.changes.oracle import (
    LANG,
    Row,
    applied_lists,
    applied_rows,
    changed_rows,
    kept,
    lists_of,
    ranked,
    run_schema,
)

candidates = st.fixed_dictionaries(
    {
        # Null ids and documents that stand in a list twice are quarantined, and still have a row.
        "doc_id": st.none() | st.sampled_from(["a", "b", "c", "é", "z"]),
        "score": st.none() | st.sampled_from([-1.5, 0.0, 0.25, 2.0]),
        "reason": st.none() | st.just("null_text"),
        "lang": st.none() | st.sampled_from(["de", "en"]),
    }
)
runs = st.dictionaries(
    st.none() | st.sampled_from(["q1", "q2", "q10", "ü"]), st.lists(candidates, max_size=6)
).map(ranked)


def compared(before: list[Row], after: list[Row], schema: pa.Schema = LANG) -> Compared:
    tables = (pa.Table.from_pylist(rows, schema=schema) for rows in (before, after))
    return compare(*tables, layout_of(schema, schema))


@given(runs, runs)
def test_changes_applied_to_the_old_table_give_the_new_one(
    before: list[Row], after: list[Row]
) -> None:
    found = compared(before, after)
    rows, lists = found.rows.to_pylist(), found.lists.to_pylist()
    expected = changed_rows(before, after)
    assert rows == expected
    old, new = kept(before), kept(after)
    assert {p: _values(r) for p, r in applied_rows(old, rows).items()} == {
        p: _values(r) for p, r in new.items()
    }
    assert applied_lists(lists_of(old), lists) == lists_of(new)
    assert [row["query_id"] for row in lists] == sorted({row["query_id"] for row in rows})


@given(runs, runs)
def test_what_is_counted_is_what_is_there(before: list[Row], after: list[Row]) -> None:
    found = compared(before, after)
    told = summary([Statistics.from_json(found.statistics.to_json())])
    old, new = kept(before), kept(after)
    queries = [{query for query, _ in rows} for rows in (old, new)]
    common = old.keys() & new.keys()
    counts = {"before": len(queries[0]), "after": len(queries[1])}
    assert told["queries"] == {**counts, "common": len(queries[0] & queries[1])}
    assert told["rows"] == {"before": len(old), "after": len(new), "common": len(common)}
    left_out = {"before": len(before) - len(old), "after": len(after) - len(new)}
    assert told["left_out"] == left_out
    kinds = [row["change"] for row in found.rows.to_pylist()]
    assert told["changes"]["rows"] == {k: kinds.count(k) for k in ("new", "changed", "gone")}
    assert sum(told["changes"]["lists"].values()) == found.lists.num_rows
    assert told["new_queries"] == sorted(queries[1] - queries[0])
    assert told["gone_queries"] == sorted(queries[0] - queries[1])
    scores = [(old[pair]["score"], new[pair]["score"]) for pair in common]
    apart = [abs(a - b) for a, b in scores if a is not None and b is not None]
    assert told["scores"]["common"] == len(apart)
    if apart:
        assert math.isclose(told["scores"]["mean_abs_difference"], sum(apart) / len(apart))


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("rank", "score", "reason", "lang"))


def lists(**of: str) -> list[Row]:
    """A list a query, a letter a document, scored by place."""
    return ranked(
        {
            query: [{"doc_id": letter, "score": float(-n)} for n, letter in enumerate(documents)]
            for query, documents in of.items()
        }
    )


def test_an_integer_is_no_text() -> None:
    schema = run_schema(pa.int64(), lang=pa.string())
    before = ranked({n: [{"doc_id": 10}, {"doc_id": 9}] for n in (2, 10)})
    found = compared(before, before[:3] + ranked({11: [{"doc_id": 2}]}), schema)
    assert found.rows.column("query_id").to_pylist() == [10, 11]
    assert found.lists.column("query_id").to_pylist() == [10, 11]
    assert found.rows.schema.field("doc_id").type == pa.int64()


def test_other_columns_change_every_row() -> None:
    before = pa.Table.from_pylist(lists(q="ab"), schema=run_schema())
    after = pa.Table.from_pylist(lists(q="ab", r="a"), schema=LANG)
    found = compare(before, after, layout_of(run_schema(), LANG))
    assert found.rows.column("change").to_pylist() == ["changed", "changed", "new"]


def test_movers_overlap_and_drift_are_named() -> None:
    before = lists(q="abcdefgh", r="abc", s="xy", gone="a")
    after = lists(q="hbcdefga", r="acb", s="xy", new="a")
    told = summary([compared(before, after).statistics])
    movers = [(one["query_id"], one["doc_id"], one["rank"]) for one in told["movers"]]
    assert movers == [("q", "a", 8), ("q", "h", 1), ("r", "b", 3), ("r", "c", 2)]
    assert (told["new_queries"], told["gone_queries"]) == (["new"], ["gone"])
    top = told["overlap"]["1"]
    assert (top["mean"], top["min"], top["quantiles"]["0.5"]) == (2 / 3, 0.0, 1.0)
    assert top["lowest"] == [{"query_id": "q", "overlap": 0.0}]
    assert told["overlap"]["100"]["quantiles"]["0.5"] < 1
    previous = [float(-n) for rows in ("abcdefgh", "abc", "xy", "a") for n in range(len(rows))]
    mean = sum(previous) / len(previous)
    std = math.sqrt(sum((score - mean) ** 2 for score in previous) / len(previous))
    assert math.isclose(told["scores"]["std_before"], std)
    assert math.isclose(told["scores"]["drift"], (7 + 7 + 1 + 1) / 13 / std)


def test_parts_are_summed_up() -> None:
    both = [lists(q="abc", r="ab"), lists(q="cab", r="ab", s="a")], [lists(t="ab"), lists(t="b")]
    whole = compared(both[0][0] + both[1][0], both[0][1] + both[1][1])
    parts = [compared(*one).statistics for one in both]
    one, other = summary([whole.statistics]), summary(parts)
    for told in (one, other):  # sums in another order are rounded otherwise
        told["scores"] = {k: v and round(v, 12) for k, v in told["scores"].items()}
        for depth in ("1", "5", "10", "20", "50", "100"):
            told["overlap"][depth]["mean"] = round(told["overlap"][depth]["mean"], 12)
    assert one == other


def test_without_anything_there_is_nothing_to_tell() -> None:
    told = summary([compared([], []).statistics])
    assert told["overlap"]["10"] == {"mean": None, "min": None, "quantiles": {}, "lowest": []}
    assert told["scores"]["drift"] is None
    alike = lists(q="a", r="a")
    assert summary([compared(alike, alike).statistics])["scores"]["drift"] == 0.0
    moved = [{**row, "score": 1.0} for row in alike]
    assert summary([compared(alike, moved).statistics])["scores"]["drift"] is None


@given(st.lists(st.floats(-5, 5), max_size=9), st.integers(0, 9))
def test_moments_add_up(values: list[float], cut: int) -> None:
    parts = [np.array(part) for part in (values[:cut], values[cut:])]
    added, whole = Moments.of(parts[0]) + Moments.of(parts[1]), Moments.of(np.array(values))
    assert added.count == whole.count
    assert math.isclose(added.mean, whole.mean, abs_tol=1e-9)
    assert math.isclose(added.deviation, whole.deviation, abs_tol=1e-6)
