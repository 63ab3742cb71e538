"""Files that change between plan and read, or while they are read."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import plan_units
from pipeline.candidates.unchanged import read_unchanged
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage import store

ROWS = 600


def content(word: str) -> bytes:
    """A file whose length and footer are the same for every word of one length."""
    table = pa.table(
        {
            "query_id": [f"q{row // 10:03d}" for row in range(ROWS)],
            "query": ["what"] * ROWS,
            "doc_id": [f"d{row}" for row in range(ROWS)],
            "text": [f"{word} {row:04d}" for row in range(ROWS)],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="none", use_dictionary=False, write_statistics=False,
        row_group_size=100,
    )  # fmt: skip
    return bytes(sink.getvalue())


OLD, NEW = content("old"), content("new")


def opened(path: object, **settings: float) -> Input:
    return open_input(InputConfig(path=(str(path),), **settings))


def run_id(path: object, **settings: float) -> str:
    return plan_units(opened(path, **settings), documents=100, fingerprint="f").run_id


def words(source: Input) -> set[str]:
    """Which contents are read."""
    texts = [b["text"].to_pylist() for _, _, b in source.batches(0, source.rows)]
    return {text.split()[0] for part in texts for text in part}


def in_place(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(NEW)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_rename(path: Path) -> None:
    before, beside = path.stat(), path.with_suffix(".beside")
    beside.write_bytes(NEW)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(path)


def by_symlink(path: Path) -> None:
    before, target = path.stat(), path.with_name("elsewhere")
    target.write_bytes(NEW)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.unlink()
    path.symlink_to(target)


def by_hard_link(path: Path) -> None:
    link = path.with_name("link")
    os.link(path, link)
    in_place(link)


def by_folder(path: Path) -> None:
    folder = path.parent
    beside = folder.with_name("beside")
    shutil.copytree(folder, beside)
    in_place(beside / path.name)
    folder.rename(folder.with_name("away"))
    beside.rename(folder)


SWAPS = [in_place, by_rename, by_symlink, by_hard_link, by_folder]
LIMITS = [{}, {"hash_mib": 0.0}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "in" / "a.parquet"
    found.parent.mkdir()
    found.write_bytes(OLD)
    assert len(OLD) == len(NEW)
    return found


@pytest.mark.parametrize("settings", LIMITS, ids=["whole", "sampled"])
@pytest.mark.parametrize("swap", SWAPS)
def test_other_content_of_the_same_size_and_time_is_refused(
    path: Path, swap: Callable[[Path], None], settings: dict[str, float]
) -> None:
    source, first = opened(path, **settings), run_id(path, **settings)
    assert words(source) == {"old"}
    before = path.stat()
    swap(path)
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    with pytest.raises(InputContractError, match=rf"{path}: changed since the run was planned"):
        words(source)
    assert run_id(path, **settings) != first
    assert words(opened(path, **settings)) == {"new"}


@pytest.mark.parametrize("settings", LIMITS, ids=["whole", "sampled"])
@pytest.mark.parametrize("swap", SWAPS)
def test_a_swap_in_the_middle_of_reading_is_never_a_mixture(
    path: Path, swap: Callable[[Path], None], settings: dict[str, float]
) -> None:
    source, calls = opened(path, **settings), 0

    def read(watched: Input) -> list[str]:
        nonlocal calls
        calls += 1
        texts = []
        for place, (_, _, batch) in enumerate(watched.batches(0, watched.rows)):
            texts += batch["text"].to_pylist()
            if place == 1 and calls == 1:
                swap(path)
        return texts

    with pytest.raises(InputContractError, match=rf"{path}: changed since the run was planned"):
        read_unchanged(source, read)


def test_what_is_swapped_in_and_out_again_while_it_is_read(path: Path) -> None:
    """The bytes at both ends are the planned ones, those read between are not."""
    source, calls = opened(path), 0

    def read(watched: Input) -> list[str]:
        nonlocal calls
        calls += 1
        texts = []
        for place, (_, _, batch) in enumerate(watched.batches(0, watched.rows)):
            texts += batch["text"].to_pylist()
            if calls == 1 and place in (0, 3):
                before = path.stat()
                with path.open("r+b") as file:
                    file.write(NEW if place == 0 else OLD)
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return texts

    assert {text.split()[0] for text in read_unchanged(source, read)} == {"old"}
    assert calls == 2


def test_a_file_that_never_stands_still_is_refused(path: Path) -> None:
    source = opened(path)

    def read(watched: Input) -> set[str]:
        found = words(watched)
        path.touch()
        return found

    with pytest.raises(InputContractError, match=r"was written to each of the 3 times"):
        read_unchanged(source, read)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def copied(path: Path) -> None:
    beside = path.with_suffix(".beside")
    shutil.copy(path, beside)
    path.unlink()
    beside.rename(path)


def linked(path: Path) -> None:
    os.link(path, path.with_name("link"))


@pytest.mark.parametrize("harmless", [touched, copied, linked])
def test_the_same_content_is_the_same_input(path: Path, harmless: Callable[[Path], None]) -> None:
    source, first = opened(path), run_id(path)
    harmless(path)
    assert run_id(path) == first
    assert words(source) == {"old"}
    assert read_unchanged(source, words) == {"old"}


def test_a_file_too_large_to_be_hashed_may_not_even_be_touched(path: Path) -> None:
    source = opened(path, hash_mib=0.0)
    touched(path)
    with pytest.raises(InputContractError, match=r"times or inode .* too large .* input\.hash_mib"):
        words(source)


def test_a_sampled_identity_sees_footer_blocks_and_times(path: Path) -> None:
    """Between the blocks of a large file only times and inode show a change, so they count."""
    with path.open("ab") as file:
        file.truncate(80 << 20)  # a hole: large, and quick to write
    file = store.identify(str(path))
    first = store.with_content(file, whole_bytes=0)
    assert store.with_content(file, whole_bytes=0) == first
    between = (64 << 10) + (10 << 10)
    before = path.stat()
    with path.open("r+b") as out:
        out.seek(between)
        out.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.with_content(file, whole_bytes=0).version != first.version
    whole = store.with_content(file, whole_bytes=80 << 20)
    assert whole.version.startswith("sha256:")


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_an_object_that_is_overwritten(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "s3":
        path = f"{request.getfixturevalue('s3_folder')}/a.parquet"
    else:
        path = f"memory://inputs/{uuid.uuid4().hex}.parquet"
    store.write_whole(path, OLD)
    source, first, calls = opened(path), run_id(path), 0
    assert words(source) == {"old"}

    def read(watched: Input) -> set[str]:
        nonlocal calls
        calls += 1
        found = set()
        for _, _, batch in watched.batches(0, watched.rows):
            found |= {text.split()[0] for text in batch["text"].to_pylist()}
            store.write_whole(path, NEW)
        return found

    with pytest.raises(InputContractError, match="changed since"):
        read_unchanged(source, read)
    assert run_id(path) != first
    store.write_whole(path, OLD)
    assert run_id(path) == first
    assert words(opened(path)) == {"old"}


def test_what_has_neither_version_nor_time_is_refused_where_it_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"memory://inputs/{uuid.uuid4().hex}.parquet"
    store.write_whole(path, OLD)
    source = opened(path, hash_mib=0.0)
    store.write_whole(path, NEW)
    with pytest.raises(InputContractError, match="changed since the run was planned"):
        words(source)
    from fsspec.implementations.memory import MemoryFileSystem

    plain = MemoryFileSystem.info
    monkeypatch.setattr(
        MemoryFileSystem, "info", lambda *a, **k: {**plain(*a, **k), "created": None}
    )
    assert words(opened(path)) == {"new"}
    with pytest.raises(InputContractError, match=r"names neither a version nor a time of change"):
        opened(path, hash_mib=0.0)
