"""A run in several formats: written with its units, known as its own, repaired, and exported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.config import JobConfig
from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    InputContractError,
    NotFoundError,
)
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import Outcome, execute
from pipeline.execution.runs import unit_files
from pipeline.execution.runs.format_files import checked_entries
from pipeline.execution.runs.run_export import export_run
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from pipeline.execution.runs.verification import audit
from pipeline.outputs.sealed import sealed_json
from pipeline.storage import store
from tests.execution.drivers import families_of_tests, lexical_job
from tests.execution.oracle import files_below, kept, problems
from tests.execution.test_damage import TABLE
from tests.makers import write

pytestmark = pytest.mark.usefixtures("believed_store")


def prepared(source: Path, output: Path, formats: list[str] | None, **sections: Any) -> Prepared:
    job = lexical_job(source, str(output), lease={"ttl_s": 0.05}, **sections)
    if formats is not None:
        job["output"]["formats"] = formats
    config = JobConfig.model_validate(job)
    return prepare(config, allow_code=families_of_tests(config))


class Runs:
    """The same job in Parquet alone, and with TREC beside it."""

    def __init__(self, root: Path) -> None:
        self.source = write(root / "in.parquet", TABLE, row_group_size=20)
        self.root = root
        self.plain = Path(self.run("plain", None).folder)
        self.both = Path(self.run("both", ["trec"]).folder)
        self.reference = kept(files_below(str(self.both.parent)))

    def run(self, name: str, formats: list[str] | None = None, *, repair: bool = False) -> Outcome:
        return execute(prepared(self.source, self.root / name, formats), repair=repair)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    from pipeline.storage.probe import StoreAbilities

    with pytest.MonkeyPatch.context() as patch:
        abilities = StoreAbilities(create=True, replace=True, detail="")
        patch.setattr("pipeline.execution.session.probe", lambda _: abilities)
        return Runs(tmp_path_factory.mktemp("formats"))


@pytest.fixture
def run(made: Runs, tmp_path: Path) -> Callable[..., Outcome]:
    """The run with TREC, copied to ``tmp_path/out``; calling it runs the job again."""
    shutil.copytree(made.both.parent, tmp_path / "out")
    return lambda **how: execute(prepared(made.source, tmp_path / "out", ["trec"]), **how)


def folder_in(output: Path) -> Path:
    [folder] = [path for path in output.iterdir() if path.is_dir()]
    return folder


def units(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["units"]
    return found


def test_every_unit_has_a_file_of_every_format_with_its_scored_rows(made: Runs) -> None:
    for unit in units(made.both):
        keys = [file["key"] for file in unit["files"]]
        ranked = [key for key in keys if key.startswith("ranked/")]
        rows = [row for key in ranked for row in pq.read_table(made.both / key).to_pylist()]
        [trec] = [file for file in unit["files"] if file["key"].startswith("trec/")]
        assert trec["key"] == f"trec/unit-{unit['unit']}.trec"
        data = (made.both / trec["key"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (trec["size"], trec["sha256"])
        scored = [(r["query_id"], r["doc_id"]) for r in rows if r["score"] is not None]
        assert trec["rows"] == len(scored) == unit["documents"] - sum(unit["reasons"].values())
        read = [(r.query_id, r.doc_id) for r in ir_measures.read_trec_run(data.decode())]
        assert sorted(read) == sorted(scored)
    assert not problems(str(made.both.parent), TABLE, made.reference)


def test_a_run_in_parquet_alone_is_what_it_was(made: Runs, tmp_path: Path) -> None:
    described = execute(prepared(made.source, tmp_path / "out", ["parquet"])).folder
    assert Path(described).name == made.plain.name
    assert kept(files_below(str(tmp_path / "out"))) == kept(files_below(str(made.plain.parent)))
    assert not (made.plain / "trec").exists()
    closing = next(path for path in (made.plain / "ranked").iterdir() if ".part-" not in path.name)
    counts = json.loads(pq.read_metadata(closing).metadata[b"counts"])
    assert set(counts) == {
        "unit", "queries", "documents", "tokens", "reasons", "parts", "query_hashes", "digests",
    }  # fmt: skip
    for name in ("ranked", "quarantine"):
        both = [pq.read_table(path) for path in sorted((made.both / name).iterdir())]
        plain = [pq.read_table(path) for path in sorted((made.plain / name).iterdir())]
        tables = [
            pa.concat_tables([t.replace_schema_metadata() for t in one]) for one in (both, plain)
        ]
        orders = [table.drop_columns(["unit"] if name == "quarantine" else []) for table in tables]
        first, second = (
            o.sort_by([("query_id", "ascending"), ("doc_id", "ascending")]) for o in orders
        )
        assert first.equals(second)


def test_formats_are_named_in_any_order_and_belong_to_the_run(made: Runs, tmp_path: Path) -> None:
    one, two = (
        prepared(made.source, tmp_path, formats).plan.run_id
        for formats in (["trec", "parquet", "trec"], ["parquet", "trec"])
    )
    assert one == two == made.both.name != made.plain.name
    with pytest.raises(ConfigurationError, match=r"output\.formats: unknown format 'trek'"):
        prepared(made.source, tmp_path, ["trek"])


def test_a_published_run_is_known_as_whole_and_left_as_it_is(
    run: Callable[..., Outcome], made: Runs, tmp_path: Path
) -> None:
    folder = RunFolder(str(folder_in(tmp_path / "out")))
    assert audit(folder) == []
    assert run_state(folder)["problems"] == []
    assert run().already_finished
    assert kept(files_below(str(tmp_path / "out"))) == made.reference


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "gone": lambda path, other: path.unlink(),
    "empty": lambda path, other: path.write_bytes(b""),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[:-1]),
    "a digit": lambda path, other: path.write_bytes(path.read_bytes().replace(b" 1 ", b" 2 ", 1)),
    "another unit's": lambda path, other: shutil.copy(other, path),
    "a folder": lambda path, other: (path.unlink(), path.mkdir()),
    "a link": lambda path, other: (path.unlink(), path.symlink_to(other)),
}


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named_and_repaired(
    run: Callable[..., Outcome], made: Runs, tmp_path: Path, kind: str, published: bool
) -> None:
    folder = folder_in(tmp_path / "out")
    path, other, *_ = sorted((folder / "trec").iterdir())
    DAMAGES[kind](path, other)
    if not published:
        for gone in (folder / "_SUCCESS", folder / "manifest.json", folder.parent / "LATEST.json"):
            gone.unlink()
    found = audit(RunFolder(str(folder)))
    assert {problem.path for problem in found} == {str(path)}
    if published:
        with pytest.raises(DamagedRunError, match=path.name) as caught:
            run()
        assert caught.value.exit_code == 4
        shown = run_state(RunFolder(str(folder)))["problems"]
        assert bool(shown) == (kind != "a digit"), "names and sizes are seen without reading"
    if kind in ("a folder", "a link"):  # which the run did not make, and does not remove
        with pytest.raises(DamagedRunError, match=path.name):
            run(repair=True)
        path.rmdir() if kind == "a folder" else path.unlink()
    run(repair=published)
    assert audit(RunFolder(str(folder))) == []
    assert kept(files_below(str(tmp_path / "out"))) == made.reference


STRANGE = ("trec/notes.txt", f"trec/unit-{'f' * 24}.trec", "trec/sub/x", "trec/{unit}.trec.gz")


@pytest.mark.parametrize("name", STRANGE)
def test_what_the_run_did_not_make_is_strange_there_too(
    run: Callable[..., Outcome], tmp_path: Path, name: str
) -> None:
    folder = folder_in(tmp_path / "out")
    unit = units(folder)[0]["unit"]
    path = folder / name.format(unit=f"unit-{unit}")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for repair in (False, True):
        with pytest.raises(DamagedRunError, match="did not make"):
            run(repair=repair)
    assert path.exists()


def test_a_folder_of_a_format_is_strange_in_a_run_without_it(made: Runs, tmp_path: Path) -> None:
    shutil.copytree(made.plain.parent, tmp_path / "out")
    shutil.copytree(made.both / "trec", folder_in(tmp_path / "out") / "trec")
    assert [problem.kind for problem in audit(RunFolder(str(folder_in(tmp_path / "out"))))] == [
        "strange"
    ]
    with pytest.raises(DamagedRunError, match="trec"):
        execute(prepared(made.source, tmp_path / "out", None))


def test_an_id_that_the_format_cannot_hold_stops_the_run_by_name(tmp_path: Path) -> None:
    ids = pa.array(["d 7" if i == 9 else f"d{i}" for i in range(TABLE.num_rows)])
    source = write(tmp_path / "in.parquet", TABLE.set_column(2, "doc_id", ids))
    with pytest.raises(InputContractError, match=r"document id 'd 7' of query 'q\d+' holds ' '"):
        execute(prepared(source, tmp_path / "out", ["trec"]))
    assert not (tmp_path / "out" / "LATEST.json").exists()
    assert not execute(prepared(source, tmp_path / "out", None)).already_finished


@pytest.mark.parametrize("step", ["format.written", "unit.written", "units.verified"])
def test_files_of_two_scorings_are_never_side_by_side(
    made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    family = {"model": {"family": "tests.execution.families.drifting"}}
    output = tmp_path / "out"
    monkeypatch.setenv(failpoints.VARIABLE, f"{step}:1=raise")
    monkeypatch.setenv("DRIFT", "10")
    failpoints._hits.clear()
    with pytest.raises(failpoints.FailpointError):
        execute(prepared(made.source, output, ["trec"], **family))
    monkeypatch.setenv(failpoints.VARIABLE, "")
    monkeypatch.setenv("DRIFT", "20")
    outcome = execute(prepared(made.source, output, ["trec"], **family))
    folder = Path(outcome.folder)
    assert audit(RunFolder(outcome.folder)) == []
    for unit in outcome.manifest["units"]:
        ranked: dict[tuple[str, str], float] = {}
        for file in unit["files"]:
            if file["key"].startswith("ranked/"):
                for row in pq.read_table(folder / file["key"]).to_pylist():
                    if row["score"] is not None:
                        ranked[row["query_id"], row["doc_id"]] = row["score"]
        lines = ir_measures.read_trec_run(str(folder / f"trec/unit-{unit['unit']}.trec"))
        assert {(line.query_id, line.doc_id): line.score for line in lines} == pytest.approx(ranked)


def test_a_file_of_another_scoring_that_comes_first_is_noticed_before_publication(
    made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker that was thought dead leaves it: the file is there between two steps of ours."""
    before: list[str] = []

    def put(path: str, data: bytes) -> bool:
        if path.endswith(".trec") and not before:
            before.append(path)
            store.write_whole(path, b"q000 Q0 d0 1 0.5 another\n")
        return store.create_if_absent(path, data)

    monkeypatch.setattr(unit_files, "create_if_absent", put)
    execute(prepared(made.source, tmp_path / "out", ["trec"]))
    assert before
    assert kept(files_below(str(tmp_path / "out"))) == made.reference


def test_a_file_without_a_seal_is_replaced_only_where_that_was_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "unit.trec")
    first, second = b"q Q0 d 1 1.0 a\n", b"q Q0 d 1 2.0 a\n"
    looks_sealed = sealed_json({"q": "Q0 d 1 1.0 a"})  # an id may hold what looks like a seal
    for stored in (first, looks_sealed):
        Path(path).unlink(missing_ok=True)
        put = partial(unit_files.put_file, path, cas=True, sealed=False)
        digest = hashlib.sha256(stored).hexdigest()
        assert put(stored) == unit_files.CREATED
        assert put(stored) == unit_files.SAME
        assert put(second) == unit_files.DIFFERENT
        assert put(second, superseded="0" * 64) == unit_files.DIFFERENT
        assert Path(path).read_bytes() == stored
        assert put(second, superseded=digest) == unit_files.REPAIRED
        assert put(stored, superseded=digest) == unit_files.DIFFERENT, "the version before is gone"
        assert Path(path).read_bytes() == second


def test_an_export_is_what_the_units_files_are_one_after_the_other(
    made: Runs, tmp_path: Path
) -> None:
    keys = [f"trec/unit-{unit['unit']}.trec" for unit in units(made.both)]
    whole = b"".join((made.both / key).read_bytes() for key in keys)
    from_both = export_run(RunFolder(str(made.both)), "trec", output=str(tmp_path / "both.trec"))
    assert Path(from_both.path).read_bytes() == whole
    (tmp_path / "out").mkdir()
    plain = shutil.copytree(made.plain, tmp_path / "out" / made.plain.name)
    done = export_run(RunFolder(str(plain)), "trec")
    assert done.path == f"{plain}.trec"
    assert sorted(Path(done.path).read_bytes().splitlines()) == sorted(whole.splitlines())
    assert (done.rows, done.left_out) == (len(whole.splitlines()), TABLE.num_rows - done.rows)
    assert done.left_out > 0
    assert audit(RunFolder(str(made.plain))) == []


def test_an_export_refuses_what_it_cannot_do(made: Runs, tmp_path: Path) -> None:
    shutil.copytree(made.plain.parent, tmp_path / "out")
    folder = RunFolder(str(folder_in(tmp_path / "out")))
    for name, output, message in (
        ("trek", None, "--format: unknown format 'trek'"),
        ("parquet", None, r"cannot be written as one file.*trec.*ranked"),
        ("trec", f"{folder.path}/run.trec", "lies in the folder of the run"),
        ("trec", str(tmp_path), "is a folder"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            export_run(folder, name, output=output)
    target = tmp_path / "run.trec"
    target.write_text("before")
    closing = sorted(Path(folder.path, "ranked").iterdir())[-1]
    data = closing.read_bytes()
    closing.write_bytes(data[:-9])
    with pytest.raises(DamagedRunError, match=closing.name):
        export_run(folder, "trec", output=str(target))
    assert target.read_text() == "before", "all or nothing"
    closing.write_bytes(data)
    Path(folder.path, "_SUCCESS").unlink()
    with pytest.raises(NotFoundError, match="not published yet"):
        export_run(folder, "trec", output=str(target))


UNIT = "cd" * 12
ENTRY = {"key": f"trec/unit-{UNIT}.trec", "size": 1, "rows": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "change",
    [
        {"key": f"../unit-{UNIT}.trec"},
        {"key": f"trec/../unit-{UNIT}.trec"},
        {"key": f"/trec/unit-{UNIT}.trec"},
        {"key": f"trec/unit-{'0' * 24}.trec"},
        {"key": f"trec/unit-{UNIT}.trec\n"},
        {"key": 1},
        {"size": -1},
        {"size": True},
        {"rows": "1"},
        {"sha256": "0"},
        {"more": 1},
    ],
)
def test_an_entry_names_a_file_of_its_unit_and_nothing_else(change: dict[str, Any]) -> None:
    assert checked_entries([ENTRY], UNIT) == [ENTRY]
    for entries in ([ENTRY | change], {"key": ENTRY}, [1], None):
        with pytest.raises(ValueError, match="not the counts of a unit"):
            checked_entries(entries, UNIT)
