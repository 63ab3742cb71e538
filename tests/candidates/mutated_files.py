"""Candidate files that are damaged by chance, and what reading makes of each.

    python -m tests.candidates.mutated_files             # a thousand, a table of what came of them
    python -m tests.candidates.mutated_files 40 60       # some of them, one line each

Files are named by their numbers: the same number is the same damage. Each block is read in a child
process with limits on memory and time, so that a crash or a hang is found and costs only its block.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from pipeline.candidates.inputs import open_input
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import RerankError
from tests.makers import long_table, nested_table

FILES: Final = 1_000

#: How the file was written; the last two have a checksum of every page.
WRITERS: Final[dict[str, dict[str, Any]]] = {
    "snappy": {"compression": "snappy"},
    "zstd": {"compression": "zstd"},
    "none": {"compression": "none", "use_dictionary": False},
    "zstd crc": {"compression": "zstd", "write_page_checksum": True},
    "none crc": {"compression": "none", "write_page_checksum": True, "data_page_version": "2.0"},
}

#: Memory that a child may map, and how long it may take for one file.
_MOST_BYTES: Final = 4 * 2**30
_MOST_SECONDS: Final = 20
_BLOCK: Final = 50


@cache
def original(writer: str, layout: str) -> bytes:
    """The file before it is damaged: several row groups, several pages."""
    table = long_table(queries=24, documents=9)
    table = nested_table(table) if layout == "nested" else table
    sink = io.BytesIO()
    rows = {"row_group_size": 8 if layout == "nested" else 40}
    pq.write_table(table, sink, data_page_size=256, **rows, **WRITERS[writer])
    return sink.getvalue()


def mutated(number: int) -> tuple[str, str, bytes]:
    """Writer, kind of damage, and bytes of a file."""
    chance = random.Random(number)
    writer = list(WRITERS)[number % len(WRITERS)]
    kind = list(_DAMAGES)[number // len(WRITERS) % len(_DAMAGES)]
    whole = original(writer, chance.choice(["long", "nested"]))
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    start, stop = (footer, len(whole)) if kind.endswith("footer") else (4, footer)
    return writer, kind, _DAMAGES[kind](whole, start, stop, chance)


def _flip(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    place = chance.randrange(start, stop)
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _overwrite(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    place, size = chance.randrange(start, stop), chance.choice([1, 2, 8, 64])
    return (
        data[:place] + chance.randbytes(min(size, stop - place)) + data[min(place + size, stop) :]
    )


def _zero(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    place = chance.randrange(start, stop)
    size = min(chance.choice([4, 64, 512]), stop - place)
    return data[:place] + bytes(size) + data[place + size :]


def _insert(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    place = chance.randrange(start, stop)
    return data[:place] + chance.randbytes(chance.choice([1, 8, 64])) + data[place:]


def _truncate(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    return data[: chance.randrange(start, stop)]


def _swap(data: bytes, start: int, stop: int, chance: random.Random) -> bytes:
    """Two blocks of a disk that changed places."""
    size = min(chance.choice([16, 128, 512]), (stop - start) // 3)
    first = chance.randrange(start, stop - 2 * size)
    second = chance.randrange(first + size, stop - size + 1)
    between = data[first + size : second]
    return (
        data[:first] + data[second : second + size] + between + data[first : first + size]
        + data[second + size :]
    )  # fmt: skip


_DAMAGES: Final[dict[str, Callable[[bytes, int, int, random.Random], bytes]]] = {
    "flip in data": _flip, "flip in footer": _flip,
    "overwrite in data": _overwrite, "overwrite in footer": _overwrite,
    "zeros in data": _zero, "zeros in footer": _zero,
    "insert in data": _insert, "insert in footer": _insert,
    "swap in data": _swap, "truncate": _truncate,
}  # fmt: skip


@cache
def expected(writer: str, layout: str) -> str:
    """What the undamaged file reads as."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "whole.parquet")
        path.write_bytes(original(writer, layout))
        return _digest(path)


def outcome(path: Path, number: int) -> tuple[str, str, str]:
    """Writer, damage, and what came of reading a file: ``refused``, ``same`` or ``different``."""
    writer, kind, data = mutated(number)
    path.write_bytes(data)
    try:
        found = _digest(path)
    except RerankError as error:
        assert path.name in str(error), str(error)
        return writer, kind, "refused"
    wanted = {expected(writer, layout) for layout in ("long", "nested")}
    return writer, kind, "same" if found in wanted else "different"


def _digest(path: Path) -> str:
    source = open_input(InputConfig(path=(str(path),)))
    lists = read_lists(source, 0, source.rows)
    state = hashlib.sha256(lists.offsets.tobytes())
    for table in (lists.queries, lists.documents):
        for column in table.columns:
            column.validate(full=True)
            state.update(repr(column.to_pylist()).encode())
    return state.hexdigest()


def child(start: int, stop: int) -> None:
    """Read some files and print a line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(start, stop):
            signal.alarm(_MOST_SECONDS)  # ends the process, whatever it is at
            print(f"{number}\t{'|'.join(outcome(Path(folder, 'm.parquet'), number))}", flush=True)
            signal.alarm(0)


def outcomes(start: int, stop: int) -> Iterator[tuple[str, str, str]]:
    """What came of files ``[start, stop)``; ``ended the process`` where one did."""
    while start < stop:
        last = min(stop, start + _BLOCK)
        command = [sys.executable, "-m", __spec__.name, "--child", str(start), str(last)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        lines = done.stdout.splitlines()
        for line in lines:
            writer, kind, found = line.split("\t")[1].split("|")
            yield writer, kind, found
        start += len(lines)
        if start < last:
            writer, kind, _ = mutated(start)
            yield writer, kind, f"ended the process ({done.returncode})"
            print(f"{start}: {done.stderr[-2000:]}", file=sys.stderr)
            start += 1


def main(words: list[str]) -> int:
    """Entry point; 1 where a process ended, or a file with checksums read as something else."""
    if words[:1] == ["--child"]:
        child(int(words[1]), int(words[2]))
        return 0
    start, stop = (int(words[0]), int(words[1])) if words else (0, FILES)
    counts: Counter[tuple[str, str]] = Counter()
    for number, (writer, kind, found) in enumerate(outcomes(start, stop), start):
        counts[writer, found] += 1
        if words:
            print(f"{number:5} {writer:9} {kind:20} {found}")
    found = sorted({found for _, found in counts})
    print(f"{'writer':10}" + "".join(f"{name:>12}" for name in found))
    for writer in WRITERS:
        print(f"{writer:10}" + "".join(f"{counts[writer, name]:12}" for name in found))
    bad = [key for key in counts if "process" in key[1]]
    bad += [key for key in counts if key[0].endswith("crc") and key[1] == "different"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
