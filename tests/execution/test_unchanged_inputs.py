"""Inputs that are swapped at any step of a run, size and time kept: no file mixes both contents."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.storage import store
from tests.execution.drivers import KILLED, Drivers, lexical_job
from tests.execution.oracle import files_below, published
from tests.makers import long_table

TABLE = long_table(queries=12)
UNITS = {"documents": 15}
STEPS = (
    "lease.taken:1", "run.written:1", "unit.begun:1", "unit.encoded:1", "unit.scored:2",
    "unit.written:2", "units.verified:1", "manifest.written:1",
)  # fmt: skip


def content(word: str) -> bytes:
    """Texts that begin with a word; one length for words of one length."""
    texts = pa.array([f"{word} {text.as_py()}" for text in TABLE["text"]])
    table = TABLE.set_column(TABLE.column_names.index("text"), "text", texts)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="none", use_dictionary=False, write_statistics=False,
        row_group_size=12,
    )  # fmt: skip
    return bytes(sink.getvalue())


OLD, NEW = content("old"), content("new")


def put(path: str, data: bytes, how: str) -> None:
    """Other content under the same name, with the same size and modification time."""
    if how == "s3":
        store.write_whole(path, data)
        return
    before = Path(path).stat()
    if how == "in place":
        with Path(path).open("r+b") as file:
            file.write(data)
    else:
        Path(f"{path}.beside").write_bytes(data)
        Path(f"{path}.beside").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def job_of(path: str, output: str) -> dict[str, object]:
    job = lexical_job(path, output, units=UNITS)
    return job | {"output": {"path": output, "columns": ["text"]}}


def words_below(output: str) -> set[str]:
    """First words of the texts of every unit that was committed."""
    found: set[str] = set()
    for name, data in files_below(output).items():
        if "/ranked/" in name:
            texts = pq.read_table(io.BytesIO(data), columns=["text"])["text"].to_pylist()
            found |= {text.split()[0] for text in texts}
    return found


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Have something done when this process reaches a step for the n-th time."""
    original = failpoints.reached

    def act_at(step: str, act: Callable[[], None]) -> None:
        name, _, hit = step.partition(":")
        hits: list[str] = []

        def reached(reached_name: str) -> None:
            original(reached_name)
            hits.append(reached_name)
            if reached_name == name and hits.count(name) == int(hit):
                act()

        monkeypatch.setattr(failpoints, "reached", reached)

    return act_at


@pytest.mark.parametrize("how", ["in place", "rename", "s3"])
def test_a_swap_at_any_step_publishes_one_content(
    at: Callable[[str, Callable[[], None]], None],
    tmp_path: Path,
    how: str,
    request: pytest.FixtureRequest,
) -> None:
    assert len(OLD) == len(NEW)
    ends = []
    steps = STEPS[1::3] if how == "s3" else STEPS
    for number, step in enumerate(steps):
        if how == "s3":
            path = f"{request.getfixturevalue('s3_folder')}/{number}.parquet"
            store.write_whole(path, OLD)
        else:
            path = str(tmp_path / f"{number}.parquet")
            Path(path).write_bytes(OLD)
        output = str(tmp_path / f"out-{number}")
        job = JobConfig.model_validate(job_of(path, output))
        at(step, lambda path=path: put(path, NEW, how))
        try:
            execute(prepare(job))
            ends.append("published")
        except InputContractError as error:
            assert f"{path}: changed since" in str(error)
            ends.append("stopped")
        assert words_below(output) <= {"old"}
        assert (published(output) is not None) == (ends[-1] == "published")
        again = execute(prepare(job))
        assert not again.already_finished, "other content is another run"
        assert published(output) == Path(again.folder).name
    read = STEPS.index("units.verified:1")
    assert ends == ["stopped" if STEPS.index(s) < read else "published" for s in steps]


def test_a_run_that_was_killed_is_not_resumed_with_other_content(
    drivers: Drivers, tmp_path: Path
) -> None:
    how = "rename"
    path, output = str(tmp_path / "in.parquet"), str(tmp_path / "out")
    Path(path).write_bytes(OLD)
    assert drivers.run(job_of(path, output), at="unit.written:2=crash") == KILLED
    [folder] = [entry.name for entry in Path(output).iterdir() if entry.is_dir()]
    put(path, NEW, how)
    second = drivers.start(job_of(path, output))
    assert second.wait() == 0, second.errors
    assert published(output) not in (None, folder)
    put(path, OLD, how)
    assert drivers.run(job_of(path, output)) == 0
    assert published(output) == folder, "the old content is the old run, which is gone on with"
