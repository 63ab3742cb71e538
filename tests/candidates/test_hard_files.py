"""Parquet's own difficult files, and files of that kind: read as said, or refused in a sentence."""

from __future__ import annotations

import csv
import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests import hostile

ROOT = Path(__file__).parents[2]
HARD = ROOT.parent / "shared/data/parquet_hard"

#: What is refused although Arrow reads it, and why.
REFUSED = {
    "good/datapage_v1-corrupt-checksum.parquet": "row group 0, column 'a': .*CRC checksum",
    "good/rle-dict-uncompressed-corrupt-checksum.parquet": "row group 0, column '.*CRC checksum",
    "good/unknown-logical-type.parquet": "column '.*' is of the extension type 'geoarrow.wkb'",
    "good/large_string_map.brotli.parquet": "row group 0, column 'arr.*input.max_expansion",
}

#: Data that nothing but decoding shows to be damaged is named by its place.
PLACED = {
    "bad/ARROW-GH-41317.parquet": "row group 0, column 'timestamp_us_no_tz'",
    "bad/ARROW-GH-41321.parquet": "row group 0, column 'int64'",
    "bad/ARROW-GH-45185.parquet": "row group 0, column 'x.list.element'",
    "bad/ARROW-GH-47662.parquet": "row group 0, column 'flba_field'",
    "bad/ARROW-RS-GH-6229-LEVELS.parquet": "row group 0, column 'outer.list.item.c'",
    "bad/PARQUET-1481.parquet": "column '.*' is of physical type",
    "made/bitflips_in_data_page.parquet": "row group 0, column 'text'",
}


def read_in_a_child(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], int]:
    command = [sys.executable, "-m", "tests.candidates.hard_files", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak = (json.loads(line) for line in done.stdout.splitlines())
    return lines, peak


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, str]]:
    if not HARD.is_dir():
        pytest.skip("needs ../shared/data/parquet_hard, apache/parquet-testing and more")
    with (HARD / "manifest.tsv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_every_difficult_file_is_read_as_arrow_does_or_refused_by_its_place(
    manifest: dict[str, dict[str, str]],
) -> None:
    found, peak = read_in_a_child(HARD / name for name in manifest)
    for (name, row), result in zip(manifest.items(), found, strict=True):
        message = str(result["message"])
        if row["pyarrow_result"] == "reads" and name not in REFUSED:
            assert row["detail"].startswith(f"rows={result['rows']} "), (name, message)
            continue
        assert name in message.partition(":")[0], (name, result["rows"])
        assert re.search((REFUSED | PLACED).get(name, ""), message), message
        assert result["seconds"] < 60, name
    assert peak < 1024


def test_files_made_to_harm_are_refused_with_little_memory(tmp_path: Path) -> None:
    paths = [
        hostile.dictionary_bomb(tmp_path / "dictionary.parquet"),
        hostile.null_bomb(tmp_path / "nulls.parquet", rows=50_000_000),
        hostile.list_bomb(tmp_path / "list.parquet"),
        *(
            hostile.page_bomb(tmp_path / f"{codec}.parquet", rows=5_000, codec=codec)
            for codec in ("zstd", "gzip", "brotli")
        ),
    ]
    assert max(path.stat().st_size for path in paths) < 2 * 2**20
    found, peak = read_in_a_child(paths)
    for path, result in zip(paths, found, strict=True):
        assert "max_expansion" in str(result["message"]), (path, result)
        assert str(path) in str(result["message"])
    assert peak < 1024


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("made/int_ids.parquet", 0, ""),
        ("made/bitflips_in_data_page.parquet", 3, "row group 0, column 'text'"),
        ("bad/ARROW-GH-41321.parquet", 3, "missing column 'query_id'"),
        ("good/encrypt_columns_plaintext_footer.parquet.encrypted", 3, "is encrypted"),
    ],
)
def test_a_run_over_one_ends_in_its_exit_code(
    manifest: dict[str, dict[str, str]], tmp_path: Path, name: str, code: int, message: str
) -> None:
    settings = (
        f"input.path={HARD / name}", f"output.path={tmp_path}", "model.name=lexical",
        "ray.mode=in_process",
    )  # fmt: skip
    command = [sys.executable, "-m", "jobs.rerank"]
    done = subprocess.run(
        [*command, *(word for one in settings for word in ("--set", one))],
        capture_output=True, text=True, cwd=ROOT, timeout=300, preexec_fn=_limited,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
