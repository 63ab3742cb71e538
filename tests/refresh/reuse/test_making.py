"""Which scores a night takes over: what a naive reading says, whatever the lists are like."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.candidates.reuse import ReuseTable
from pipeline.config import JobConfig
from pipeline.errors import DamagedRunError, ExitCode
from pipeline.execution.preparation import prepare
from pipeline.refresh.reuse.matching import DOCUMENTS, LISTS
from pipeline.refresh.reuse.work import Sizes
from tests.fixtures_runs import ranked
from tests.refresh.reuse.nights import (
    FIRST,
    LISTED,
    SMALL,
    Naive,
    Night,
    Query,
    job,
    prepared,
    published,
    put,
    ran,
    table_of_night,
)

pytestmark = pytest.mark.usefixtures("believed_store")

TEXTS = st.sampled_from(["light", "time", "salt", "windows", None])
DAY = datetime.timedelta(days=1)


@st.composite
def a_night(draw: st.DrawFn) -> Night:
    numbers = draw(st.lists(st.integers(0, 6), min_size=1, max_size=6, unique=True))
    documents = st.lists(st.tuples(st.integers(0, 4), TEXTS), max_size=5).map(tuple)
    return tuple(Query(n, draw(st.integers(0, 1)), draw(documents)) for n in numbers)


def filled(night: Night) -> Night:
    """The lists that the long layout has; one more, so that there is an input."""
    return (*(one for one in night if one.documents), Query(99, 0, ((0, "light"),)))


@settings(max_examples=12)
@given(
    nights=st.lists(a_night(), min_size=2, max_size=3),
    pointwise=st.booleans(),
    nested=st.booleans(),
    text_ids=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    max_age_days=st.sampled_from([None, 1, 2, 3]),
)
def test_nights_are_what_a_naive_reading_says(
    nights: list[Night],
    pointwise: bool,
    nested: bool,
    text_ids: tuple[bool, ...],
    max_age_days: int | None,
) -> None:
    naive = Naive(pointwise, max_age_days)
    previous = None
    with TemporaryDirectory() as temporary:
        for number, night in enumerate(nights):
            lists = night if nested else filled(night)
            if not any(one.documents for one in lists):
                lists = (*lists, Query(99, 0, ((0, "light"),)))
            path = put(
                Path(temporary, str(number)), lists, nested=nested, text_ids=text_ids[number]
            )
            config = job(path, Path(temporary, "out"), family=None if pointwise else LISTED)
            date = FIRST + number * DAY
            found = prepared(config, date, previous, max_age_days=max_age_days)
            outcome = ran(found)
            expected = naive.night(lists, date)
            assert found.reuse is not None
            if number:
                counts = found.reuse.counts
                assert counts["documents"] == {n: expected["documents"][n] for n in DOCUMENTS}
                assert counts["lists"] == {n: expected["lists"][n] for n in LISTS}
                assert outcome.manifest["reused"] == counts["documents"]["reuse"]
            rows = ranked(outcome).to_pylist()
            dated = {
                (int(row["query_id"]), int(row["doc_id"])): row["scored_at"]
                for row in rows
                if row["score"] is not None
            }
            assert dated == naive.scored_at
            previous = published(outcome, number + 1)


def lists(count: int = 12, *, version: int = 0) -> Night:
    """Lists of four; every third has another version."""
    return tuple(
        Query(n, version * (n % 3 == 0), tuple((d, f"salt {n} {d}") for d in range(4)))
        for n in range(count)
    )


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Path]:
    """A folder with two inputs, ``first`` and ``second``."""
    put(tmp_path / "first", lists())
    put(tmp_path / "second", lists(version=1))
    yield tmp_path


def config_of(folder: Path, night: str, **options: Any) -> JobConfig:
    return job(folder / night / "in.parquet", folder / "out", **options)


def files(table: ReuseTable) -> dict[str, tuple[int, bytes]]:
    found = sorted(Path(table.path).iterdir())
    return {file.name: (file.stat().st_ino, file.read_bytes()) for file in found}


def test_a_table_that_is_whole_is_not_made_again(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config, previous = config_of(nights, "second"), published(first)
    table = table_of_night(config, FIRST + DAY, previous)
    before = files(table)
    assert len(table.parts) > 3
    assert table.counts["documents"] == {
        "reuse": 32, "rescore": 16, "new": 0, "unscorable": 0, "gone": 0, "expired": 0,
    }  # fmt: skip
    shutil.rmtree(first.folder)  # not even looked at
    assert table_of_night(config, FIRST + DAY, previous) == table
    assert files(table) == before


def test_what_is_gone_of_a_table_is_made_anew_and_nothing_else(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config, previous = config_of(nights, "second"), published(first)
    table = table_of_night(config, FIRST + DAY, previous)
    before = files(table)
    Path(table.path, "part-00001.parquet").unlink()
    Path(table.path, "part-00002.json").write_bytes(b"{}")
    again = table_of_night(config, FIRST + DAY, previous)
    now = files(again)
    assert again == table
    assert {name: data for name, (_, data) in now.items()} == {
        name: data for name, (_, data) in before.items()
    }
    made = {name for name in now if now[name][0] != before[name][0]}
    assert "part-00000.parquet" not in made
    damaged = Path(table.path, "manifest.json")
    damaged.write_bytes(damaged.read_bytes().replace(b'"reuse"', b'"reusf"', 1))
    assert table_of_night(config, FIRST + DAY, previous) == table


def test_the_name_says_what_a_table_is_made_of(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config, previous = config_of(nights, "second"), published(first)
    path = config.input.path
    tables = [
        table_of_night(config, FIRST + DAY, previous),
        table_of_night(config, FIRST + 2 * DAY, previous),
        table_of_night(config, FIRST + DAY, previous, max_age_days=3),
        table_of_night(config, FIRST + DAY, None),
        table_of_night(config_of(nights, "first"), FIRST + DAY, previous),
        table_of_night(
            config_of(nights, "second", input={"path": path, "text_columns": ["query"]}),
            FIRST + DAY, previous,
        ),
    ]  # fmt: skip
    assert len({table.table_id for table in tables}) == len(tables)


def test_a_first_night_has_nothing_and_says_so(nights: Path) -> None:
    table = table_of_night(config_of(nights, "first"), FIRST, None)
    assert table.why == "first night: no run is published here yet"
    assert (table.parts, table.previous) == ((), None)
    assert (table.counts["documents"]["new"], table.counts["lists"]["new"]) == (48, 12)


def test_a_run_without_content_keys_is_not_read(nights: Path) -> None:
    first = ran(prepare(config_of(nights, "first")))
    table = table_of_night(config_of(nights, "second"), FIRST + DAY, published(first))
    assert table.why is not None
    assert "was made without content keys (not by `rerank refresh`)" in table.why
    assert table.counts["documents"]["reuse"] == 0


def test_a_night_without_candidates_has_lost_all(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    path = put(nights / "third", ())
    config = config_of(nights, "third", input={"path": str(path), "allow_empty": True})
    table = table_of_night(config, FIRST + DAY, published(first))
    assert (table.counts["documents"]["gone"], table.counts["lists"]["gone"]) == (48, 12)
    assert (table.why, table.parts) == (None, ())


def test_another_model_has_none_of_the_scores(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config = config_of(nights, "second", family=LISTED)
    shutil.rmtree(Path(first.folder, "ranked"))  # not read
    table = table_of_night(config, FIRST + DAY, published(first))
    assert table.why is not None
    assert table.why.startswith("the model's family changed since run ")


def test_a_damaged_run_is_refused_by_the_name_of_its_file(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config, previous = config_of(nights, "second"), published(first)
    ranked_file = sorted(Path(first.folder, "ranked").iterdir())[3]
    for path in (ranked_file, Path(first.folder, "manifest.json"), Path(first.folder, "run.json")):
        whole = path.read_bytes()
        for damage in (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], None):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            with pytest.raises(DamagedRunError) as caught:
                table_of_night(config, FIRST + DAY, previous)
            assert caught.value.exit_code == ExitCode.MISSING
            for part in (first.folder, "`rerank refresh --full` scores everything anew"):
                assert part in str(caught.value)
            if damage is not None:
                for part in (str(path), "status --check", "--repair"):
                    assert part in str(caught.value)
        path.write_bytes(whole)
    assert table_of_night(config, FIRST + DAY, previous).counts["documents"]["reuse"] == 32


def test_a_run_that_is_not_the_one_that_was_published_is_refused(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    previous = published(first, 7)
    other = type(previous)(folder=previous.folder, manifest_sha256="0" * 64, sequence=7)
    with pytest.raises(DamagedRunError, match="it is not that of publication 7"):
        table_of_night(config_of(nights, "second"), FIRST + DAY, other)


def test_sizes_do_not_change_what_is_taken(nights: Path) -> None:
    first = ran(prepared(config_of(nights, "first"), FIRST, None))
    config, previous = config_of(nights, "second"), published(first)
    one, other = (
        table_of_night(config, FIRST + DAY, previous, sizes=sizes) for sizes in (SMALL, Sizes())
    )
    assert one.counts == other.counts
    assert len(one.parts) > len(other.parts) == 1
    rows = [table.scores(0, 10**9).sort_by("content_key") for table in (one, other)]
    assert rows[0].equals(rows[1])
    assert pq.read_table(Path(other.path, "part-00000.parquet")).num_rows == 32
