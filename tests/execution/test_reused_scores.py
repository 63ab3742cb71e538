"""Runs that take scores of an earlier one: which are taken, which are given anew, and how often."""

from __future__ import annotations

import csv
import datetime
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reuse import PART_SCHEMA, REUSE, ReuseTable, with_known, write_part
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError, DamagedRunError, NotFoundError
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare, prepare_again
from pipeline.execution.progress import Progress
from pipeline.execution.reused_scores import left_over
from pipeline.execution.run import execute
from pipeline.execution.runs.identity import ModelIdentity, score_fingerprint
from pipeline.execution.runs.run_export import export_run
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import lines, run_state
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.execution.runs.verification import audit
from pipeline.execution.unit_size import UnitSize
from pipeline.execution.units import rows, stages
from pipeline.rerankers.base import Reranker
from tests.execution import drivers as drivers_module
from tests.execution.drivers import KILLED, Drivers, lexical_job
from tests.execution.oracle import files_below, kept
from tests.fixtures_runs import ranked
from tests.makers import write
from tests.rerankers import test_listwise_generation, test_pairwise

FIRST, TODAY = datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)
TABLES = {FIRST: "1" * 16, TODAY: "2" * 16}
TEXTS = ["rays of light", "a tax on windows", None, "the clock keeps time", "eggs and salt"]

pytestmark = pytest.mark.usefixtures("believed_store")


def input_of(folder: Path, **changes: str) -> Path:
    """Four lists of five documents, of which one has no text; ``q2=d0`` changes d0 of q2."""
    table = pa.Table.from_pylist(
        [
            {
                "query_id": f"q{query}",
                "query": f"query {['light', 'time', 'salt', 'window'][query]}",
                "doc_id": f"d{place}",
                "text": "another text" if changes.get(f"q{query}") == f"d{place}" else text,
                "scored_by": "someone",
            }
            for query in range(4)
            for place, text in enumerate(TEXTS)
        ]
    )
    return write(folder / f"in{len(changes)}.parquet", table)


def job_of(path: Path, folder: Path, model: dict[str, Any], **sections: Any) -> JobConfig:
    """A unit for each list."""
    output = {"path": str(folder / "out"), "token_counts": True, "columns": ["scored_by"]}
    job = lexical_job(path, "", model=model, output=output, units={"documents": 5})
    return JobConfig.model_validate(job | sections)


def table(
    folder: Path, known: pa.Table, day: datetime.date = TODAY
) -> Callable[[Input, ModelIdentity, Reranker], ReuseTable]:
    """A table of two parts, in both of which these rows stand, beside runs of a folder."""
    path = str(folder / "out" / REUSE / TABLES[day])

    def make(source: Input, model: ModelIdentity, reranker: Reranker) -> ReuseTable:
        edges = [(0, 9), (9, source.rows)]
        parts = [
            write_part(path, number, start=start, stop=stop, rows=known)
            for number, (start, stop) in enumerate(edges)
        ]
        found = ReuseTable(
            path=path, table_id=TABLES[day], date=day, previous=None, why=None, counts={},
            score_fingerprint=score_fingerprint(model), parts=tuple(parts),
        )  # fmt: skip
        found.finish()
        return found

    return make


def first_night(folder: Path, model: dict[str, Any], **sections: Any) -> Outcome:
    empty = table(folder, PART_SCHEMA.empty_table(), FIRST)
    return execute(prepare(job_of(input_of(folder), folder, model, **sections), reuse=empty))


def odd(before: list[dict[str, Any]]) -> pa.Table:
    """What is known of some ranked rows, with scores that no model gives."""
    there = [row for row in before if row["score"] is not None]
    return pa.table(
        [
            [row["content_key"] for row in there],
            [1000.0 + place for place in range(len(there))],
            [row["scored_at"] for row in there],
        ],
        schema=PART_SCHEMA,
    )


def by_document(outcome: Outcome) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["query_id"], row["doc_id"]): row for row in ranked(outcome).to_pylist()}


MODELS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "lexical": lambda _, __: {"name": "lexical"},
    "cross_encoder": lambda goldens, _: {
        "family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny"),
    },
    "jina_v3": lambda goldens, _: {
        "family": "jina_v3", "weights": str(goldens / "jina-reranker-v3"),
    },
    "pairwise": lambda _, folder: {
        "family": "pairwise", "weights": str(test_pairwise.write(folder)),
    },
    "listwise_generation": lambda _, folder: {
        "family": "listwise_generation", "weights": str(test_listwise_generation.write(folder)),
    },
}  # fmt: skip


LISTWISE = {"jina_v3", "pairwise", "listwise_generation"}


@pytest.mark.parametrize("documents", [5, 100])
@pytest.mark.parametrize("name", MODELS)
def test_known_scores_are_taken_and_the_others_given(
    name: str, documents: int, tmp_path: Path, goldens: Path
) -> None:
    """All of q0 and q2 is known, of q1 all but d1, of q3 nothing; then d0 of q2 is changed."""
    (tmp_path / "model").mkdir()
    model = MODELS[name](goldens, tmp_path / "model")
    sections = {"units": {"documents": documents}}
    first = first_night(tmp_path, model, **sections)
    before = by_document(first)
    assert first.reused == first.manifest["reused"] == 0
    for (_, document), row in before.items():
        assert (row["content_key"] is None) == (document == "d2")
        assert row["scored_at"] == (None if row["score"] is None else FIRST)
    known = odd([row for name, row in before.items() if name[0] != "q3" and name != ("q1", "d1")])

    job = job_of(input_of(tmp_path, q2="d0"), tmp_path, model, **sections)
    second = execute(prepare(job, reuse=table(tmp_path, known)))
    found = by_document(second)
    taken = {("q0", f"d{place}") for place in (0, 1, 3, 4)}
    if name not in LISTWISE:
        taken |= {("q1", "d0"), ("q1", "d3"), ("q1", "d4")}
        taken |= {("q2", "d1"), ("q2", "d3"), ("q2", "d4")}
    taken = {name for name in taken if before[name]["score"] is not None}
    score_of = dict(zip(known.column(0).to_pylist(), known.column(1).to_pylist(), strict=True))
    for name_of, row in found.items():
        old = before[name_of]
        if name_of in taken:
            assert row["score"] == score_of[row["content_key"]]
            assert (row["content_key"], row["scored_at"]) == (old["content_key"], FIRST)
            assert (row["n_tokens"], row["truncated"]) == (None, None)
        else:
            assert row["scored_at"] == (None if row["score"] is None else TODAY)
        if name_of[0] in ("q1", "q3") and name_of not in taken and old["score"] is not None:
            assert row["score"] == pytest.approx(old["score"], rel=1e-4)
            assert row["n_tokens"] == old["n_tokens"]
    assert second.reused == second.manifest["reused"] == len(taken)
    assert (second.manifest["documents"], second.manifest["quarantined"]) == (20, 4)
    ranks = {name: (row["rank"], row["score"]) for name, row in found.items() if name[0] == "q0"}
    scores = [score for _, score in sorted(ranks.values()) if score is not None]
    assert scores == sorted(scores, reverse=True)
    engine = [report_of(outcome)["engine"] for outcome in (first, second)]
    if documents == 5:  # of one query has nothing to be scored, and went to no replica
        assert [one["units"] for one in engine] == [4, 3]
    assert engine[1]["sequences"] < engine[0]["sequences"]
    assert audit(RunFolder(second.folder)) == []


def report_of(outcome: Outcome) -> dict[str, Any]:
    found = RunFolder(outcome.folder).report()
    assert found is not None
    return found


def test_a_night_without_changes_scores_nothing_and_can_be_the_next_ones_source(
    tmp_path: Path,
) -> None:
    model = {"name": "lexical"}
    first = first_night(tmp_path, model)
    known = odd(list(by_document(first).values()))
    job = job_of(input_of(tmp_path), tmp_path, model, output=formats(tmp_path))
    second = execute(prepare(job, reuse=table(tmp_path, known)))
    assert second.manifest["tokens"] == 0
    assert (second.reused, second.manifest["documents"]) == (16, 20)
    state = run_state(RunFolder(second.folder))
    assert ("reused", "16 scores of an earlier run") in list(lines(state))
    report = report_of(second)
    assert (report["documents_reused"], report["place"]) == (16, "in_process")
    assert report["engine"] == {}
    rows_of = [row for row in by_document(second).values() if row["score"] is not None]
    assert {row["scored_at"] for row in rows_of} == {FIRST}
    assert execute(prepare(job, reuse=table(tmp_path, known))).already_finished

    # Files for other tools have the columns that were asked for.
    path = export_run(RunFolder(second.folder), "csv").path
    for file in (Path(path), next(Path(second.folder, "csv").iterdir())):
        heading = next(csv.reader(file.read_text().splitlines()))
        assert heading == [*schema.RANKED_COLUMNS, "scored_by", *schema.TOKEN_COLUMNS]


def formats(folder: Path) -> dict[str, Any]:
    columns = ["scored_by"]
    return {
        "path": str(folder / "out"), "formats": ["csv"], "columns": columns, "token_counts": True,
    }  # fmt: skip


def test_without_a_table_nothing_of_it_is_written(tmp_path: Path) -> None:
    job = job_of(input_of(tmp_path), tmp_path, {"name": "lexical"})
    outcome = execute(prepare(job))
    assert ranked(outcome).column_names == [
        *schema.RANKED_COLUMNS, "scored_by", *schema.TOKEN_COLUMNS,
    ]  # fmt: skip
    assert "reused" not in outcome.manifest
    assert not {"reused"} & {key for unit in outcome.manifest["units"] for key in unit}
    described = RunFolder(outcome.folder).describe()
    assert "reuse" not in described
    tables = [table(tmp_path, PART_SCHEMA.empty_table(), day) for day in TABLES]
    ids = {prepare(job, reuse=one).plan.run_id for one in tables}
    assert len({outcome.manifest["run_id"], *ids}) == 3


def test_a_table_for_other_scores_is_refused(tmp_path: Path) -> None:
    job = job_of(input_of(tmp_path), tmp_path, {"name": "lexical"})
    made: list[ReuseTable] = []

    def foreign(source: Input, model: ModelIdentity, reranker: Reranker) -> ReuseTable:
        made.append(table(tmp_path, PART_SCHEMA.empty_table())(source, model, reranker))
        return replace(made[0], score_fingerprint="0" * 32)

    with pytest.raises(ConfigurationError, match="scores of another model are never taken"):
        prepare(job, reuse=foreign)


def test_columns_that_the_run_writes_itself_cannot_be_copied(tmp_path: Path) -> None:
    output = {"path": str(tmp_path / "out"), "columns": ["scored_at"]}
    job = job_of(input_of(tmp_path), tmp_path, {"name": "lexical"}, output=output)
    with pytest.raises(ConfigurationError, match=r"output\.columns: 'scored_at' is written by"):
        prepare(job, reuse=table(tmp_path, PART_SCHEMA.empty_table()))


def test_a_damaged_part_stops_the_run_and_a_whole_one_lets_it_go_on(tmp_path: Path) -> None:
    model = {"name": "lexical"}
    first = first_night(tmp_path, model)
    make = table(tmp_path, odd(list(by_document(first).values())))
    prepared = prepare(job_of(input_of(tmp_path), tmp_path, model), reuse=make)
    assert prepared.reuse is not None
    path = Path(prepared.reuse.path, prepared.reuse.parts[1].key)
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(DamagedRunError, match=r"part-00001\.parquet: not as it was written"):
        execute(prepared)
    path.write_bytes(whole)
    again = execute(prepare_again(prepared.folder))
    assert (again.reused, again.already_finished) == (16, False)


def test_a_killed_run_is_resumed_with_its_table_also_where_both_were_moved(
    tmp_path: Path, drivers: Drivers
) -> None:
    model = {"name": "lexical"}
    first = first_night(tmp_path, model)
    known = odd([row for name, row in by_document(first).items() if name[0] in ("q0", "q2")])
    job = job_of(input_of(tmp_path), tmp_path, model)
    prepared = prepare(job, reuse=table(tmp_path, known))
    assert prepared.reuse is not None
    crashed = drivers.start(
        job.model_dump(mode="json"),
        at="unit.written:2=crash",
        hooks=("tests.execution.test_reused_scores:take_table",),
        environment={VARIABLE: prepared.reuse.path},
    )
    assert crashed.wait() == KILLED, crashed.errors
    assert list(Path(prepared.folder.path, "ranked").iterdir())

    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = RunFolder(prepared.folder.path.replace("/out/", "/elsewhere/"))
    with pytest.raises(NotFoundError, match="reuse"):
        shutil.move(tmp_path / "elsewhere" / REUSE, tmp_path / "kept")
        prepare_again(moved)
    shutil.move(tmp_path / "kept", tmp_path / "elsewhere" / REUSE)
    resumed = execute(prepare_again(moved))
    assert resumed.units_run == 2
    assert resumed.reused == 8

    undisturbed = execute(prepare(job, reuse=table(tmp_path, known)))
    assert whole(undisturbed) == whole(resumed)


def whole(outcome: Outcome) -> dict[str, bytes]:
    """The files of a run, beside which others lie."""
    runs, _, run_id = outcome.folder.rpartition("/")
    return kept(files_below(runs, run_id))


#: Names the table that a driver takes scores of, see :func:`take_table`.
VARIABLE = "TABLE_OF_TEST"


def take_table() -> None:
    """A hook: prepare the job with the table of the environment."""
    folder = os.environ[VARIABLE]
    take: Any = partial(prepare, reuse=lambda *_: ReuseTable.open(folder))
    drivers_module.prepare = take  # type: ignore[attr-defined]  # as another hook does


def test_a_document_of_a_query_that_crashes_keeps_the_score_that_is_known() -> None:
    lists = CandidateLists.from_texts("q", ["a", "b"])
    fresh = with_known(lists, PART_SCHEMA.empty_table(), pointwise=True, fingerprint="f")
    keys = fresh.documents.column(schema.CONTENT_KEY).to_pylist()
    known = pa.table([keys[1:], [0.5], [FIRST]], schema=PART_SCHEMA)
    found = with_known(lists, known, pointwise=True, fingerprint="f")
    batch = rows.row({schema.UNIT: "unit", stages.LISTS: found.to_ipc()})
    after = CandidateLists.from_ipc(
        stages.without_queries(batch, [0]).column(stages.LISTS)[0].as_buffer()
    )
    assert after.documents.column(schema.REASON).to_pylist() == [reasons.WORKER_CRASHED, None]


def test_rates_are_of_scored_documents() -> None:
    progress = Progress(units=4, documents_planned=40)
    progress.add(UnitCounts(unit="a", queries=1, documents=10, tokens=9, reused=7), resumed=True)
    progress.add(UnitCounts(unit="b", queries=1, documents=10, tokens=0, reused=10))
    assert (progress.documents_per_s, progress.reused, progress.reused_now) == (0.0, 17, 10)
    assert (progress.documents, progress.scored_now, progress.units_done_now) == (20, 0, 1)
    counts = UnitCounts(unit="c", queries=1, documents=10, tokens=5, reused=4)
    assert UnitCounts.from_metadata(counts.to_metadata()).reused == 4
    with pytest.raises(ValueError, match="missing, negative or too large"):
        UnitCounts.from_metadata(counts.to_metadata().replace('"reused": 4', '"reused": -4'))


def test_the_time_of_a_run_is_that_of_what_is_left_to_be_scored(tmp_path: Path) -> None:
    size = UnitSize(documents=5, first=5, reason="", seconds=100.0)
    counts = {"reuse": 900_000, "rescore": 60_000, "new": 40_000, "gone": 7}
    part = ReuseTable(
        path=str(tmp_path), table_id="1" * 16, date=TODAY, previous=None, why=None, parts=(),
        score_fingerprint="f", counts={"documents": counts},
    )  # fmt: skip
    assert left_over(size, part).seconds == pytest.approx(10 + 27)
    for same in (None, replace(part, counts={})):
        assert left_over(size, same) == size
    assert left_over(replace(size, seconds=None), part).seconds is None


@pytest.mark.usefixtures("ray_cluster")
def test_on_ray_it_is_the_same_run(tmp_path: Path) -> None:
    model = {"name": "lexical"}
    first = first_night(tmp_path, model)
    known = odd([row for name, row in by_document(first).items() if name[0] != "q1"])
    sections: dict[str, Any] = {"replicas": {"min": 1, "num_cpus": 0.5}}
    folders = {}
    for mode in ("cluster", "in_process"):
        output = {"path": str(tmp_path / mode)}
        ray = {"mode": mode, "read_cpus": 1}
        job = job_of(input_of(tmp_path), tmp_path, model, output=output, ray=ray, **sections)
        outcome = execute(prepare(job, reuse=table(tmp_path, known)))
        assert outcome.reused == 12
        assert report_of(outcome)["engine"]["units"] == 1
        folders[mode] = kept(files_below(str(tmp_path / mode)))
    assert folders["cluster"] == folders["in_process"]
