from __future__ import annotations

import bz2
import gzip
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.sources import streams
from pipeline.sources.streams import line_blocks, read_head
from pipeline.storage.parquet.limits import ExpansionError
from pipeline.storage.store import identify
from tests.support.source_rows import write

CONTENT = b"one\ntwo\n\nthree \xff\r\nfour"


def lines_at(path: Path, start: int = 0, stop: int | None = None) -> list[tuple[int, bytes | None]]:
    """Lines with their places; None is one that is too long."""
    file = identify(str(path))
    head = read_head(file, 1e9)
    found: list[tuple[int, bytes | None]] = []
    blocks = line_blocks(file, head.compression, 1e9, start, file.size if stop is None else stop)
    for block in blocks:
        offset = block.offset
        if block.data is None:
            found.append((offset, None))
            continue
        for line in block.data.splitlines(keepends=True):
            found.append((offset, line))
            offset += len(line)
    return found


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


@pytest.mark.parametrize(
    "packed",
    [
        CONTENT,
        gzip.compress(CONTENT),
        gzip.compress(CONTENT[:6]) + gzip.compress(CONTENT[6:]),
        bz2.compress(CONTENT),
        bz2.compress(CONTENT[:6]) + bz2.compress(CONTENT[6:]),
        zstd(CONTENT),
    ],
    ids=["plain", "gzip", "gzip members", "bzip2", "bzip2 streams", "zstd"],
)
def test_content_is_read_however_it_is_compressed(packed: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "x", packed)
    assert b"".join(line or b"" for _, line in lines_at(path)) == CONTENT
    assert read_head(identify(str(path)), 1e9).data == CONTENT


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"bc", b"\n"]), max_size=30), st.integers(1, 9))
def test_every_line_is_in_the_shard_in_which_it_begins(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(streams, "BLOCK_BYTES", 3)
        path = write(Path(folder) / "x", data)
        whole = lines_at(path)
        starts = range(0, len(data), size)
        parts = [lines_at(path, start, min(len(data), start + size)) for start in starts]
    assert b"".join(line or b"" for _, line in whole) == data
    assert [line for part in parts for line in part] == whole
    for start, part in zip(starts, parts, strict=True):
        assert all(start <= offset < start + size for offset, _ in part)


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_too_long_is_named_and_left_out(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 16)
    monkeypatch.setattr(streams, "MOST_LINE_BYTES", 50)
    data = b"a\n" + b"x" * 300 + b"\nb\n" + b"y" * 300
    path = write(tmp_path / "x", gzip.compress(data) if packed else data)
    assert lines_at(path) == [(0, b"a\n"), (2, None), (303, b"b\n"), (305, None)]


def test_a_long_line_belongs_to_the_shard_in_which_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 16)
    monkeypatch.setattr(streams, "MOST_LINE_BYTES", 50)
    path = write(tmp_path / "x", b"a\n" + b"x" * 300 + b"\nb\n")
    assert lines_at(path, 0, 100) == [(0, b"a\n"), (2, None)]
    assert lines_at(path, 100, 200) == []
    assert lines_at(path, 200, 305) == [(303, b"b\n")]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
def test_a_compressed_file_that_is_cut_off_says_where(pack, tmp_path: Path) -> None:
    data = b"".join(b"%d line\n" % (number * 7919) for number in range(50_000))
    packed = pack(data)
    path = write(tmp_path / "x", packed[: len(packed) // 2])
    with pytest.raises(InputContractError, match=r"x: .*(cut off at byte|after byte)"):
        lines_at(path)


def test_what_follows_compressed_data_is_no_silent_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x", gzip.compress(b"a\n") + b"garbage")
    with pytest.raises(InputContractError, match="cannot be decompressed"):
        lines_at(path)


def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "x", gzip.compress(b"a" * 99 + b"\n" + b"\n" * (160 << 20)))
    file = identify(str(path))
    with pytest.raises(ExpansionError, match=r"input\.max_expansion"):
        for _ in line_blocks(file, "gzip", 100.0, 0, file.size):
            pass


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert lines_at(write(tmp_path / "x", b"\xef\xbb\xbfa\nb")) == [(3, b"a\n"), (4 + 1, b"b")]
