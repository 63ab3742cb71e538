"""Tensors are read as the library reads them, and a hash that fits is that of their bytes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pipeline.checkpoints.safetensors_file import read_entries, read_files
from pipeline.errors import ModelError

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.uint16, torch.uint32, torch.uint64, torch.complex64,
]  # fmt: skip

shapes = st.lists(st.integers(0, 4), max_size=3)
tensors = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5).filter(
        lambda name: name != "__metadata__"
    ),
    st.tuples(shapes, st.sampled_from(DTYPES)),
    max_size=6,
)
within = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(path: Path, described: dict[str, tuple[list[int], torch.dtype]]) -> str:
    made = {
        name: (torch.arange(torch.Size(shape).numel()) % 2).reshape(shape).to(dtype)
        for name, (shape, dtype) in described.items()
    }
    save_file(made, path, metadata={"format": "pt"})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes, which can be compared where numbers cannot."""
    return tensor.reshape(-1).view(torch.uint8)


@within
@given(files=st.lists(tensors, min_size=1, max_size=6))
def test_what_is_read_is_what_the_library_reads(
    tmp_path: Path, files: list[dict[str, tuple[list[int], torch.dtype]]]
) -> None:
    paths = [tmp_path / f"{place}.safetensors" for place in range(len(files))]
    # A name that two files hold is refused.
    named = [{f"{n}{name}": of for name, of in file.items()} for n, file in enumerate(files)]
    hashes = [written(path, described) for path, described in zip(paths, named, strict=True)]
    found = list(read_files(list(zip(paths, hashes, strict=True))))
    wanted = [(name, tensor) for path in paths for name, tensor in load_file(path).items()]
    assert len(found) == len(wanted)
    left = list(found)
    for name, tensor in wanted:
        same = [
            pair
            for pair in left
            if pair[0] == name
            and pair[1].dtype == tensor.dtype
            and pair[1].shape == tensor.shape
            and torch.equal(plain(pair[1]), plain(tensor))
        ]
        assert same, name
        left.remove(same[0])
    shapes_of = {entry.name: entry.shape for entry in read_entries(paths[0])}
    assert shapes_of == {name: tuple(t.shape) for name, t in load_file(paths[0]).items()}


@within
@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_may_differ(tmp_path: Path, where: int, bit: int) -> None:
    path = tmp_path / "a.safetensors"
    expected = written(path, {"a": ([40, 3], torch.float32), "b": ([7], torch.int64)})
    data = bytearray(path.read_bytes())
    data[where % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"a\.safetensors: .*expected {expected}"):
        list(read_files([(path, expected)]))


def overwrite(path: Path, data: bytes) -> None:
    """In its place, as a program does that opens it and writes."""
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.parametrize("restored", [False, True])
def test_a_file_written_to_while_it_is_read(tmp_path: Path, restored: bool) -> None:
    """Old bytes or new: what was handed out has the planned hash, or there is an error."""
    path = tmp_path / "a.safetensors"
    described = {name: ([600_000], torch.float32) for name in "abcdefgh"}
    expected = written(path, described)
    planned, whole = load_file(path), path.read_bytes()
    reading = read_files([(path, expected)])
    name, tensor = next(reading)
    assert torch.equal(tensor, planned[name])
    overwrite(path, bytes(len(whole)))
    with pytest.raises(ModelError, match="not the file that the run was planned with"):
        for place, (name, tensor) in enumerate(reading):
            if restored and place == 3:
                overwrite(path, whole)
            assert tensor.shape == planned[name].shape
    path.write_bytes(whole)
    assert dict(read_files([(path, expected)])).keys() == planned.keys()


def with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut off"),
        (b"PK\x03\x04 a pickle file of many bytes", "a header of"),
        (with_header(b"not json"), "header: JSONDecodeError"),
        (with_header([1]), "header: AttributeError"),
        (with_header({"a": {**ENTRY, "dtype": "F4"}}, bytes(8)), "header: KeyError"),
        (with_header({"a": {**ENTRY, "shape": [3]}}, bytes(8)), "does not lie where it must"),
        (with_header({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)), "does not lie"),
        (with_header({"a": ENTRY, "b": ENTRY}, bytes(8)), "does not lie"),
        (with_header({"a": {**ENTRY, "shape": [-2]}}, bytes(8)), "header: ValueError: shape"),
        (with_header({"a": {**ENTRY, "shape": ["2"]}}, bytes(8)), "header: "),
        (with_header({"a": ENTRY}, bytes(7)), "cut off"),
        (with_header({"a": ENTRY}, bytes(9)), "bytes follow"),
        (with_header(b"[" * 100_000), "header: RecursionError"),
        (with_header({"a": {**ENTRY, "data_offsets": [0, 8.0]}}, bytes(8)), "header: ValueError"),
        (with_header({"a": {**ENTRY, "data_offsets": [False, 8]}}, bytes(8)), "header: ValueError"),
        (with_header({"a": {**ENTRY, "data_offsets": [0]}}, bytes(8)), "header: ValueError"),
        (with_header({"a": {**ENTRY, "data_offsets": "08"}}, bytes(8)), "header: ValueError"),
        (with_header({"a": {**ENTRY, "shape": [True, 2]}}, bytes(8)), "header: ValueError"),
        (with_header({"a": {**ENTRY, "shape": None}}, bytes(8)), "header: TypeError"),
        (with_header({"a": "F32"}), "header: TypeError"),
        # Zero numbers, of sizes that no tensor can have.
        (
            with_header({"a": {**ENTRY, "shape": [0, 2**62, 4], "data_offsets": [0, 0]}}),
            "header: ValueError: shape",
        ),
        # Sizes that fit each other, and nothing behind them: no memory may be taken for it.
        (
            with_header({"a": {**ENTRY, "shape": [2**58], "data_offsets": [0, 2**60]}}),
            "the file is cut off",
        ),
        (
            with_header(b'{"a":' + json.dumps(ENTRY).encode() + b',"a":{}}', bytes(8)),
            "'a' is there twice",
        ),
        (
            with_header(
                b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', bytes(8)
            ),
            "'dtype' is there twice",
        ),
    ],
)
def test_what_is_not_laid_out_as_it_must_be_is_refused(
    tmp_path: Path, data: bytes, why: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=f"a.safetensors: not readable as safetensors: .*{why}"):
        list(read_files([(path, None)]))


def test_a_tensor_that_two_files_hold_is_refused(tmp_path: Path) -> None:
    """Which of them a network would get depends on the order of files."""
    for name, tensors in (("a", ["first", "both"]), ("b", ["both", "last"])):
        written(tmp_path / f"{name}.safetensors", {t: ([3], torch.float32) for t in tensors})
    files = [(tmp_path / f"{name}.safetensors", None) for name in "ab"]
    with pytest.raises(ModelError, match=r"b\.safetensors: tensor 'both' is in a\.safetensors"):
        list(read_files(files))


@pytest.mark.parametrize("kind", ["pipe", "folder", "absent"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    for read in (lambda: list(read_files([(path, None)])), lambda: read_entries(path)):
        with pytest.raises(
            ModelError, match=r"a\.safetensors: (is no regular file|cannot be read)"
        ):
            read()
