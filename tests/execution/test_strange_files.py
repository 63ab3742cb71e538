"""What somebody puts into a run's folder, or takes out of it: named, never followed, repaired."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.config import JobConfig
from pipeline.errors import DamagedRunError, RerankError
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs import records
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.garbage import find_garbage
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from pipeline.execution.runs.verification import audit
from pipeline.outputs.sealed import sealed_bytes, sealed_json
from pipeline.storage import store
from pipeline.storage.probe import StoreAbilities
from tests.execution.drivers import families_of_tests, lexical_job
from tests.execution.oracle import files_below, kept, problems
from tests.execution.test_damage import TABLE
from tests.makers import write

pytestmark = pytest.mark.usefixtures("believed_store")

PAGE = Path(__file__).parents[2] / "docs" / "output.md"

SECRET = b"of somebody else"


class Job:
    """A job with one run, and what the run is when nothing happens to it."""

    def __init__(self, root: Path) -> None:
        self.output = root / "out"
        self.source = write(root / "in.parquet", TABLE, row_group_size=20)
        self.sections: dict[str, object] = {"lease": {"ttl_s": 0.05}}
        self.run()
        [self.folder] = [path for path in self.output.iterdir() if path.is_dir()]
        self.reference = kept(files_below(str(self.output)))
        self.names = sorted(self.reference)

    def run(self, *, repair: bool = False) -> Outcome:
        job = lexical_job(self.source, str(self.output), **self.sections)
        return execute(prepare(JobConfig.model_validate(job)), repair=repair)

    def unpublish(self) -> None:
        for path in (self.folder / "_SUCCESS", self.folder / "manifest.json", self.latest):
            path.unlink()

    @property
    def latest(self) -> Path:
        return self.output / "LATEST.json"

    def closing(self) -> list[Path]:
        """Files that close units, by name."""
        ranked = self.folder / "ranked"
        return sorted(path for path in ranked.glob("unit-*") if ".part-" not in path.name)

    def path(self, name: str) -> Path:
        return self.latest if name == "LATEST.json" else self.folder / name

    def assert_whole(self) -> None:
        assert audit(RunFolder(str(self.folder))) == []
        assert not problems(str(self.output), TABLE, self.reference)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Job:
    with pytest.MonkeyPatch.context() as patch:
        abilities = StoreAbilities(create=True, replace=True, detail="")
        patch.setattr("pipeline.execution.session.probe", lambda _: abilities)
        return Job(tmp_path_factory.mktemp("made"))


@pytest.fixture
def job(made: Job, tmp_path: Path) -> Job:
    """A published run of its own, copied."""
    copied = Job.__new__(Job)
    copied.__dict__.update(made.__dict__)
    copied.output = tmp_path / "out"
    shutil.copytree(made.output, copied.output)
    copied.folder = copied.output / made.folder.name
    return copied


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "victim.txt"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def refused(call: Callable[[], object], name: str) -> str:
    with pytest.raises(DamagedRunError) as caught:
        call()
    assert name in str(caught.value)
    assert caught.value.exit_code == 4
    return str(caught.value)


STRANGE = {
    "stray.parquet": "ranked/stray.parquet",
    "a unit of nobody": f"ranked/unit-{'f' * 24}.parquet",
    "a part too many": "{part}",
    "a rejected row too many": "quarantine/unit-{clean}.parquet",
    "a file in quarantine": "quarantine/notes.txt",
    "a note": "attempts/notes.txt",
    "beside the folders": "copy of manifest.json",
    "a line break": "ranked/x\ny.parquet",
}


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("kind", STRANGE)
def test_a_name_that_the_run_did_not_make_is_not_published(
    job: Job, kind: str, published: bool
) -> None:
    unit = job.closing()[0].name.removesuffix(".parquet")
    rejected = {path.name for path in (job.folder / "quarantine").iterdir()}
    clean = [p.name[5:-8] for p in job.closing() if p.name not in rejected] or ["0" * 24]
    name = STRANGE[kind].format(part=f"ranked/{unit}.part-0009.parquet", clean=clean[0])
    path = job.folder / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(job.closing()[0], path)
    shown = name.rpartition("/")[2].replace("\n", "\\n")
    if not published:
        job.unpublish()
    for repair in (False, True):
        message = refused(partial(job.run, repair=repair), shown)
        assert "Move away what is strange" in message
        assert path.exists()
        assert (job.folder / "_SUCCESS").exists() == published
    assert [problem.kind for problem in audit(RunFolder(str(job.folder)))] in (
        ["strange"], [] if not published and kind == "a part too many" else ["strange"],
    )  # fmt: skip
    path.unlink()
    job.run()
    job.assert_whole()


def test_hidden_names_are_nobodys_business(job: Job) -> None:
    for published in (True, False):
        for folder in (".", "ranked", "quarantine", "attempts"):
            (job.folder / folder).mkdir(exist_ok=True)
            for name in (".DS_Store", "_notes.txt"):
                (job.folder / folder / name).write_bytes(b"\0\0\0\1Bud1")
        if not published:
            job.unpublish()
            job.closing()[0].unlink()
        folder = RunFolder(str(job.folder))
        assert audit(folder) == []
        assert run_state(folder)["units_in_flight"] == 0
        assert find_garbage(str(job.output), older_than_h=0) == []
        job.run()
        assert read_ranked(folder).num_rows == TABLE.num_rows
    written = {path for path in job.folder.rglob("*") if path.name in (".DS_Store", "_notes.txt")}
    assert len(written) == 8


PLACES = ("unit", "lease.json", "run.json", "plan.parquet", "LATEST.json", "manifest.json",
          "_SUCCESS", "report.json")  # fmt: skip

KINDS: dict[str, Callable[[Path, Path], object]] = {
    "folder": lambda path, _: path.mkdir(),
    "symbolic link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, _: path.symlink_to("/nowhere"),
    "FIFO": lambda path, _: os.mkfifo(path),
}


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_never_followed_or_replaced(
    job: Job, victim: Path, kind: str, published: bool
) -> None:
    if not published:
        job.unpublish()
    for place in PLACES:
        path = job.closing()[0] if place == "unit" else job.path(place)
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        KINDS[kind](path, victim)
        for repair in (False, True):
            with pytest.raises(RerankError) as caught:
                job.run(repair=repair)
            assert path.name in str(caught.value), place
        for read in (
            lambda: run_state(find_run(str(job.output))),
            lambda: read_ranked(find_run(str(job.output))),
            lambda: find_garbage(str(job.output), older_than_h=0),
        ):
            try:
                read()
            except RerankError as error:
                assert path.name in str(error) or "not a run folder" in str(error), place
        assert victim.read_bytes() == SECRET
        if kind == "folder":
            path.rmdir()
        else:
            path.unlink()
        if before is not None:
            path.write_bytes(before)
    job.run(repair=True)
    job.assert_whole()


@pytest.mark.parametrize("name", ["ranked", "quarantine", ""])
def test_a_folder_that_is_a_link_is_not_followed(job: Job, victim: Path, name: str) -> None:
    job.unpublish()
    moved = victim.parent / "moved"
    place = job.folder / name if name else job.folder
    place.rename(moved)
    place.symlink_to(moved)
    before = files_below(str(moved))
    refused(job.run, f"{place}: a symbolic link")
    refused(lambda: job.run(repair=True), f"{place}: a symbolic link")
    assert files_below(str(moved)) == before
    assert find_garbage(str(job.output), older_than_h=0) == []


def test_the_output_folder_may_be_a_link(job: Job, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(job.output)
    job.output = tmp_path / "link"
    job.unpublish()
    job.run()
    job.assert_whole()


def swapped(job: Job, other: Job) -> dict[str, tuple[Path, Path]]:
    """Whole files, and the places that they do not belong to."""
    ranked, quarantine = job.folder / "ranked", job.folder / "quarantine"
    first, second, *_ = job.closing()
    part, another = sorted(p for p in ranked.iterdir() if ".part-" in p.name)[:2]
    rejected = next(quarantine.iterdir())
    return {
        "another unit": (second, first),
        "another part": (another, part),
        "quarantine": (rejected, ranked / rejected.name),
        "ranked": (ranked / rejected.name, rejected),
        "another run": (other.closing()[0], first),
        "plan of another run": (other.folder / "plan.parquet", job.folder / "plan.parquet"),
        "run.json of another run": (other.folder / "run.json", job.folder / "run.json"),
        "lease of another run": (other.folder / "lease.json", job.folder / "lease.json"),
        "manifest of another run": (
            other.folder / "manifest.json", job.folder / "manifest.json",
        ),
        "report for manifest": (job.folder / "report.json", job.folder / "manifest.json"),
        "success for pointer": (job.folder / "_SUCCESS", job.latest),
        "unit for plan": (first, job.folder / "plan.parquet"),
        "success of another run": (other.folder / "_SUCCESS", job.folder / "_SUCCESS"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def other(made: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Another run over the same input."""
    found = Job.__new__(Job)
    found.source, found.output = made.source, tmp_path_factory.mktemp("other")
    found.sections = made.sections | {"units": {"documents": 40}}
    found.run()
    [found.folder] = [path for path in found.output.iterdir() if path.is_dir()]
    return found


def test_a_whole_file_in_the_place_of_another_is_noticed_and_repaired(job: Job, other: Job) -> None:
    for kind, (source, target) in swapped(job, other).items():
        shutil.copy(source, target)
        message = refused(job.run, target.name)
        assert [p.path for p in audit(RunFolder(str(job.folder)))].count(str(target)) == 1, kind
        assert "--repair" in message
        outcome = job.run(repair=True)
        assert outcome.repaired, kind
        job.assert_whole()
    job.unpublish()
    for kind in ("another unit", "another part", "quarantine", "ranked", "another run"):
        source, target = swapped(job, other)[kind]
        shutil.copy(source, target)
    job.run()  # what is not published yet is scored again without being told to
    job.assert_whole()


def test_a_unit_that_is_not_the_one_of_the_manifest_comes_back(job: Job) -> None:
    """A sealed file of the right unit, with other scores."""
    path = job.closing()[0]
    table = pq.read_table(path)
    scores = pa.array([s and s + 1 for s in table["score"].to_pylist()], pa.float32())
    other = table.set_column(table.column_names.index("score"), "score", scores)
    described = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    path.write_bytes(sealed_bytes(other, described))
    assert "not the file that manifest.json lists" in refused(job.run, path.name)
    refused(lambda: read_ranked(RunFolder(str(job.folder))), path.name)
    assert job.run(repair=True).units_run == 1
    job.assert_whole()


JUNK: dict[str, bytes] = {
    "nothing": b"",
    "garbage": b"{garbage",
    "a list": b"[]",
    "a number": b"1e999",
    "other JSON": b'{"a": 1}',
    "no text": bytes(range(256)),
    "deep": b"[" * 100_000,
    "sealed, of another version": sealed_json({"kind": "lease", "run_id": "0" * 16}),
    "sealed, of another type": sealed_json({"kind": 5, "run_id": []}),
    "sealed list": b'["sha256-of-file-with-zeros-here:' + b"0" * 64 + b'"]',
}

RECORDS = ("lease.json", "run.json", "plan.parquet", "LATEST.json", "manifest.json", "_SUCCESS",
           "report.json")  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_junk_ends_in_a_sentence_and_is_repaired(job: Job, name: str) -> None:
    path = job.path(name)
    whole = path.read_bytes()
    for junk in JUNK.values():
        path.write_bytes(junk)
        assert [p.path for p in audit(RunFolder(str(job.folder)))] == [str(path)]
        assert "--repair" in refused(job.run, name)
    path.write_bytes(b"")
    os.truncate(path, 9 << 30)  # a hole
    refused(job.run, name)
    path.write_bytes(JUNK["garbage"])
    job.run(repair=True)
    job.assert_whole()
    if name in ("manifest.json", "_SUCCESS", "plan.parquet"):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["lease.json", "run.json", "plan.parquet", "LATEST.json"])
def test_junk_in_a_run_that_is_not_finished_is_not_written_over(job: Job, name: str) -> None:
    pointer = job.latest.read_bytes()
    job.unpublish()
    job.latest.write_bytes(pointer)
    job.closing()[0].unlink()
    path = job.path(name)
    for junk in JUNK.values():
        path.write_bytes(junk)
        refused(job.run, name)
        assert path.read_bytes() == junk
    job.run(repair=True)
    job.assert_whole()


def test_junk_marks_are_nobodys_attempts(job: Job) -> None:
    job.unpublish()
    gone = job.closing()[0]
    gone.unlink()
    folder = RunFolder(str(job.folder))
    unit = gone.name[5:-8]
    (job.folder / "attempts").mkdir(exist_ok=True)
    for number in (1, 2, 3):
        (job.folder / "attempts" / f"{unit}.score-{number}.json").write_bytes(b"\xff{")
    assert [problem.kind for problem in audit(folder)] == ["damaged"] * 3
    assert run_state(folder)["units_in_flight"] == 1
    job.run()  # three marks: the unit is scored in a process of its own
    job.assert_whole()


def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = [job.closing()[0], job.folder / "manifest.json", job.latest, job.folder / "run.json"]
    reached = 0
    for name in failpoints.NAMES:
        for path in damaged:
            path.write_bytes(path.read_bytes()[:-3])
        monkeypatch.setenv(failpoints.VARIABLE, f"{name}:1=raise")
        failpoints._hits.clear()
        try:
            job.run(repair=True)
        except failpoints.FailpointError:
            reached += 1
        monkeypatch.setenv(failpoints.VARIABLE, "")
        job.run(repair=True)
        job.assert_whole()
    assert reached > 10


def test_a_repair_with_other_scores_is_published_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = {"model": {"family": "tests.execution.families.drifting"}, "lease": {"ttl_s": 0.05}}
    source, output = write(tmp_path / "in.parquet", TABLE, row_group_size=20), tmp_path / "out"
    config = JobConfig.model_validate(lexical_job(source, str(output), **family))
    folder = RunFolder(execute(prepare(config, allow_code=families_of_tests(config))).folder)
    before = folder.manifest()
    for number, step in enumerate(("manifest.written", "pointer.moved", "success.written", "")):
        [unit, *_] = sorted(folder.committed())
        Path(folder.ranked(unit)).write_bytes(b"")
        monkeypatch.setenv("DRIFT", str(10 * (number + 1)))
        monkeypatch.setenv(failpoints.VARIABLE, f"{step}:1=raise" if step else "")
        failpoints._hits.clear()
        if step:
            with pytest.raises(failpoints.FailpointError):
                execute(prepare(config, allow_code=families_of_tests(config)), repair=True)
            monkeypatch.setenv(failpoints.VARIABLE, "")
        execute(prepare(config, allow_code=families_of_tests(config)), repair=True)
        assert audit(folder) == []
        assert folder.manifest() != before
        before = folder.manifest()
        assert read_ranked(folder).num_rows == TABLE.num_rows
        tables = [ds.dataset(path).to_table() for path in folder.files(unit, 1)]
        drifts = {s // 10 for t in tables for s in t["score"].to_pylist() if s is not None}
        assert drifts == {number + 1}, "all files of a unit are of one scoring"


def test_an_object_store_is_looked_at_alike(made: Job, s3_folder: str) -> None:
    job = JobConfig.model_validate(lexical_job(made.source, s3_folder, **made.sections))
    folder = RunFolder(execute(prepare(job)).folder)
    assert audit(folder) == []
    reference = kept(files_below(s3_folder))
    first, second, *_ = sorted(folder.committed())
    damaged = {
        folder.ranked(first): b"",
        folder.file("manifest.json"): b"{}",
        folder.file("lease.json"): read(folder.file("lease.json"))[:-1],
        folder.latest: read(folder.file("_SUCCESS")),
    }
    for path, data in damaged.items():
        store.write_whole(path, data)
    store.delete(folder.ranked(second))
    strange = f"{folder.path}/ranked/x/y.parquet"
    store.write_whole(strange, b"")
    with pytest.raises(DamagedRunError) as caught:
        execute(prepare(job))
    for path in (*damaged, folder.ranked(second), f"{folder.path}/ranked/x"):
        assert f"{path}: " in str(caught.value)
    with pytest.raises(DamagedRunError, match="a folder that this run did not make"):
        execute(prepare(job), repair=True)
    store.delete(strange)
    assert execute(prepare(job), repair=True).units_run == 2
    assert audit(folder) == []
    assert not problems(s3_folder, TABLE, reference)


def read(path: str) -> bytes:
    found = store.read_versioned(path)
    assert found is not None
    return found[0]


def test_readers_take_the_files_of_the_manifest(job: Job) -> None:
    """As docs/output.md says, word for word."""
    shutil.copy(job.closing()[0], job.folder / "ranked" / "stray.parquet")
    [recipe] = re.findall(r"```python\n(import json\n.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {"run": str(job.folder)}
    exec(recipe, names)
    assert isinstance(names["ranked"], ds.Dataset)
    assert names["ranked"].count_rows() == TABLE.num_rows
    assert read_ranked(RunFolder(str(job.folder))).num_rows == TABLE.num_rows


def test_a_record_is_of_its_kind_and_run(tmp_path: Path) -> None:
    path = str(tmp_path / ("ab" * 8) / "_SUCCESS")
    data = records.to_bytes(records.Success, {"run_id": "ab" * 8, "manifest_sha256": ""})
    assert records.parse(path, data, records.Success, run_id="ab" * 8)["manifest_sha256"] == ""
    for shape, run_id, message in (
        (records.Pointer, "ab" * 8, "of kind 'success', not 'latest'"),
        (records.Success, "cd" * 8, f"it is of run {'ab' * 8}, not of {'cd' * 8}"),
    ):
        with pytest.raises(DamagedRunError, match=message):
            records.parse(path, data, shape, run_id=run_id)
