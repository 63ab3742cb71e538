"""Queries that crash, hang or raise cost themselves only; what is no number is scored again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import JobConfig
from pipeline.errors import RunFailedError
from pipeline.execution.isolation import find_culprits
from pipeline.execution.ledger import Ledger
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.units.rows import SuspectUnit
from tests.execution.drivers import Drivers, lexical_job
from tests.execution.oracle import files_below, kept, report
from tests.fixtures_runs import Rerank
from tests.makers import long_table, overflowing, write

FAMILIES = "tests.execution.families"


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_exactly_the_culprits_are_found(given: tuple[int, set[int]]) -> None:
    count, guilty = given
    tried: list[Sequence[int]] = []

    def survives(group: Sequence[int]) -> bool:
        tried.append(group)
        return not guilty & set(group)

    assert find_culprits(range(count), survives, most=count) == sorted(guilty)
    assert len(tried) <= 2 + 2 * len(guilty) * max(1, count.bit_length())


def test_more_culprits_than_allowed_are_not_looked_for() -> None:
    assert find_culprits(range(100), lambda _: False, most=3) is None


def with_words(table: pa.Table, words: dict[str, str]) -> pa.Table:
    """The table with a word put before the text of some queries."""
    queries = [
        f"{words[query_id]} {text}" if query_id in words else text
        for query_id, text in zip(
            table["query_id"].to_pylist(), table["query"].to_pylist(), strict=True
        )
    ]
    return table.set_column(1, "query", pa.array(queries))


def rows_of(output: str) -> dict[tuple[str, str], tuple[float | None, str | None]]:
    """Score and reason of every candidate of a run."""
    return {
        (row["query_id"], row["doc_id"]): (row["score"], row["reason"])
        for name, data in files_below(output).items()
        if "/ranked/" in name
        for row in pq.read_table(io.BytesIO(data)).to_pylist()
    }


def check(output: str, plain: str, table: pa.Table, words: dict[str, str]) -> None:
    """The marked queries are set aside, all others have the scores of the lexical family."""
    found, wanted = rows_of(output), rows_of(plain)
    assert set(found) == set(wanted) == set(
        zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)
    )  # fmt: skip
    for (query, document), (score, reason) in found.items():
        if query in words:
            assert (score, reason) == (None, "worker_crashed"), (query, document)
        else:
            assert (score, reason) == wanted[query, document], (query, document)


def job_of(family: str, path: Path, output: str, **sections: Any) -> dict[str, Any]:
    model = {"family": f"{FAMILIES}.{family}"}
    limits = {"max_error_rate": 1.0, "max_crashes": 50}
    return lexical_job(path, output, **({"model": model, "quarantine": limits} | sections))


@pytest.mark.parametrize("place", ["inencode", "inforward", "indecode"])
def test_a_query_that_kills_its_process_is_found_over_three_drivers(
    drivers: Drivers, tmp_path: Path, place: str
) -> None:
    words = {"q003": f"abort{place}"}
    table = with_words(long_table(queries=16), words)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain, output = str(tmp_path / "plain"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, plain)) == 0
    job = job_of("poisonous", path, output)
    assert [drivers.run(job) for _ in range(3)] == [-6, -6, -6]
    last = drivers.start(job)
    assert last.wait() == 0, last.errors
    check(output, plain, table, words)


def test_a_unit_that_hangs_in_the_driver_itself_ends_it_in_order(
    drivers: Drivers, tmp_path: Path
) -> None:
    words = {"q003": "hanginforward"}
    table = with_words(long_table(queries=8), words)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain, output = str(tmp_path / "plain"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, plain)) == 0
    units = {"documents": 25, "time_limit_s": 1}
    job = job_of("poisonous", path, output, units=units, lease={"ttl_s": 3_600})
    for _ in range(3):
        driver = drivers.start(job)
        assert driver.wait() == 5, driver.errors
        assert "longer than units.time_limit_s (1 s)" in driver.errors
        assert "in _misbehave" in driver.errors, "where it stood"
    last = drivers.start(job)
    assert last.wait() == 0, last.errors
    check(output, plain, table, words)


def test_queries_that_raise_or_hang_cost_themselves_only(drivers: Drivers, tmp_path: Path) -> None:
    words = {"q001": "raiseinencode", "q007": "raiseindecode", "q012": "raiseinforward"}
    table = with_words(long_table(queries=16), words)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain, output = str(tmp_path / "plain"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, plain)) == 0
    driver = drivers.start(job_of("poisonous", path, output))
    assert driver.wait() == 0, driver.errors
    check(output, plain, table, words)
    suspected = report(output)["units_suspected"].values()
    assert all("the model does not like this query" in said for said in suspected)


def test_on_ray_a_query_that_kills_its_worker_costs_itself_only(
    rerank: Rerank, drivers: Drivers, tmp_path: Path
) -> None:
    words = {"q003": "abortinforward", "q009": "hanginforward", "q006": "raiseinencode"}
    table = with_words(long_table(queries=16), words)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain = str(tmp_path / "plain")
    assert drivers.run(lexical_job(path, plain)) == 0
    units = {"documents": 25, "time_limit_s": 4}
    outcome = rerank(
        path,
        model={"family": f"{FAMILIES}.poisonous"},
        units=units,
        quarantine={"max_error_rate": 1.0, "max_crashes": 50},
    )
    check(str(Path(outcome.folder).parent), plain, table, words)
    assert not list(Path(outcome.folder, "attempts").iterdir())
    seen = report(str(Path(outcome.folder).parent))["last"]
    assert (seen["units_done"], seen["documents"]) == (seen["units"], table.num_rows)
    assert seen["retries"]["worker_died"] >= 3, "replicas report from Ray's workers as well"
    assert seen["retries"]["unit_suspected"] + seen["retries"]["model_raised"] >= 2
    # Found in another way and by other workers, it is the same output.
    output = str(tmp_path / "in-process")
    job = job_of("poisonous", path, output, units=units)
    job["output"] = {"path": output}
    codes = [drivers.run(job)]
    while codes[-1] != 0 and len(codes) < 12:
        codes.append(drivers.run(job))
    assert codes == [-6, -6, -6, 5, 5, 5, 0], "three times an abort, three times a hang"
    assert kept(files_below(output)) == kept(files_below(str(Path(outcome.folder).parent)))


def test_on_ray_a_unit_is_not_blamed_for_the_one_beside_it(
    rerank: Rerank, drivers: Drivers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica with a GPU dies with both of its units inside; only one of them is at fault."""
    words = {"q003": "abortincompany"}
    table = with_words(long_table(queries=12), words)
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain, deaths = str(tmp_path / "plain"), tmp_path / "deaths"
    assert drivers.run(lexical_job(path, plain)) == 0
    settings = {"runs": str(tmp_path / "runs"), "deaths": str(deaths)}
    outcome = rerank(
        path,
        model={"family": f"{FAMILIES}.accompanied", "settings": settings},
        units={"documents": 25},
        replicas={"num_gpus": 1, "num_cpus": 0.5},
        quarantine={"max_error_rate": 1.0, "max_crashes": 50},
    )
    first, *later = [line.split() for line in deaths.read_text().splitlines()]
    assert len({mark.partition(".")[0] for mark in first}) == 2, "both slots were full"
    # The neighbour keeps the mark of that one death; the culprit is alone from then on.
    again = {mark for line in later for mark in line if not mark.endswith("-1.json")}
    [culprit] = {mark.partition(".")[0] for mark in again}
    set_aside = [record.args for record in caplog.records if "set aside" in record.msg]
    assert [arguments[:2] for arguments in set_aside] == [(culprit, 3)]
    check(str(Path(outcome.folder).parent), plain, table, words)
    # A replica may die while its other thread writes a mark: what it leaves has no name yet.
    left = [path.name for path in Path(outcome.folder, "attempts").iterdir()]
    assert not [name for name in left if not name.startswith(".")]


def test_workers_that_only_crash_stop_the_run_with_their_last_words(
    rerank: Rerank, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=40), row_group_size=10)
    with pytest.raises(RunFailedError, match=r"workers failed \d+ times") as stopped:
        rerank(
            path,
            model={"family": f"{FAMILIES}.crashing"},
            units={"documents": 10},
            quarantine={"max_crashes": 2},
        )
    assert "Fatal Python error: Aborted" in str(stopped.value)


def test_failures_of_several_units_add_up(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table())
    job = lexical_job(path, str(tmp_path / "out"), quarantine={"max_crashes": 4})
    ledger = Ledger(prepare(JobConfig.model_validate(job)))
    ledger.set_aside(SuspectUnit("one", 3, "first words"))
    with pytest.raises(RunFailedError, match=r"(?s)workers failed 6 times.*last words"):
        ledger.set_aside(SuspectUnit("two", 3, "last words"))


def test_what_is_no_number_is_scored_once_more_in_float32(drivers: Drivers, tmp_path: Path) -> None:
    table = long_table(queries=12)
    texts = table["text"].to_pylist()
    marked = {2: "nan", 30: "inf", 40: "large"}
    for place, word in marked.items():
        texts[place] = f"{word} {texts[place]}"
    table = table.set_column(3, "text", pa.array(texts))
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    plain, output = str(tmp_path / "plain"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, plain)) == 0
    job = job_of("numeric", path, output, engine={"dtype": "bfloat16"})
    driver = drivers.start(job)
    assert driver.wait() == 0, driver.errors
    found, wanted = rows_of(output), rows_of(plain)
    keys = list(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    lost = {keys[30]: "not_finite", keys[40]: "out_of_memory"}
    for key in keys:
        assert found[key] == ((None, lost[key]) if key in lost else wanted[key])
    assert report(output)["rescored_in_float32"] == 2


def test_what_overflows_in_float16_has_the_score_of_float32(goldens: Path, tmp_path: Path) -> None:
    weights = overflowing(goldens / "bge-reranker-tiny", tmp_path / "model", word="ranks")
    table = long_table(queries=6)
    path = write(tmp_path / "in.parquet", table, row_group_size=10)
    found, totals = {}, {}
    for dtype in ("float16", "float32"):
        job = job_of("numeric", path, str(tmp_path / dtype), engine={"dtype": dtype})
        job["model"] = {"family": "cross_encoder", "weights": str(weights)}
        execute(prepare(JobConfig.model_validate(job)))
        found[dtype] = rows_of(str(tmp_path / dtype))
        totals[dtype] = report(str(tmp_path / dtype))["rescored_in_float32"]
    again = {
        (row["query_id"], row["doc_id"]): (row["query"], row["text"])
        for row in table.to_pylist()
        if "ranks" in f"{row['query']} {row['text']}"
    }
    assert 0 < len(again) < table.num_rows
    assert totals == {"float16": len(set(again.values())), "float32": 0}
    for key, (score, reason) in found["float16"].items():
        assert reason is None, key
        near = 1e-6 if key in again else 0.1
        assert score == pytest.approx(found["float32"][key][0], abs=near), key
