"""What a pattern names, by itself and on every store."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NotFoundError
from pipeline.storage import store
from pipeline.storage.patterns import PathPattern, is_data


def listed(root: str, pattern: str = "") -> list[str]:
    try:
        files = store.list_files(store.join(root, pattern) if pattern else root)
    except NotFoundError:
        return []
    return [file.path.removeprefix(root).strip("/") for file in files]


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    folder: str = request.getfixturevalue("s3_folder")
    return folder


#: A folder as Spark, pandas, people and Hive leave it.
TREE = (
    "day1.parquet/part-0.parquet", "day1.parquet/_SUCCESS", "day1.parquet/.part-0.parquet.crc",
    "day1.parquet/_temporary/0/part-1.parquet", "day2.parquet", "day3.pq", "day4.parq", "day5",
    "notes.txt", ".hidden.parquet", "_day=1/x.pq", "lang=de/day=1/x.parquet",
)  # fmt: skip

FOUND = {
    "": ["_day=1/x.pq", "day1.parquet/part-0.parquet", "day2.parquet", "day3.pq",
         "lang=de/day=1/x.parquet"],
    "day1.parquet": ["day1.parquet/part-0.parquet"],
    "day1.parquet/": ["day1.parquet/part-0.parquet"],
    "day4.parq": ["day4.parq"],
    "day5": ["day5"],
    "day[1-3]*": ["day1.parquet/part-0.parquet", "day2.parquet", "day3.pq"],
    "*.parquet": ["day1.parquet/part-0.parquet", "day2.parquet"],
    "day*": ["day1.parquet/part-0.parquet", "day2.parquet", "day3.pq", "day4.parq", "day5"],
    "day1.parquet/*": ["day1.parquet/part-0.parquet"],
    "day1.parquet/_S*": ["day1.parquet/_SUCCESS"],
    "lang=*": ["lang=de/day=1/x.parquet"],
    "lang=*/day=*/": ["lang=de/day=1/x.parquet"],
    "**/x.*": ["_day=1/x.pq", "lang=de/day=1/x.parquet"],
    "**/*.parquet": ["day1.parquet/part-0.parquet", "day2.parquet", "lang=de/day=1/x.parquet"],
    "lang=de/**": ["lang=de/day=1/x.parquet"],
    "?ay3.pq": ["day3.pq"],
    "day[!1-4]": ["day5"],
    "nothing*": [],
}  # fmt: skip


def test_folders_files_and_globs_name_the_same_on_every_store(root: str) -> None:
    for name in TREE:
        store.write_whole(store.join(root, name), b"x")
    assert {pattern: listed(root, pattern) for pattern in FOUND} == FOUND


#: Names that mean something to a shell, to a URI or to Unicode.
STRANGE = (
    "a[1].parquet", "a1.parquet", "star*.parquet", "star-2.parquet", "q?.parquet", "q1.parquet",
    "hash#1.parquet", "50%.parquet", "%20.parquet", "a b.parquet", "new\nline.parquet",
    "caf\u00e9.parquet", "cafe\u0301.parquet", "+.parquet", "a&b=c.parquet", "\u6587.parquet",
    "p26 [v2] uni\u00e9#1/c.parquet", "[x]", "a:b.parquet", "~.parquet", "'\".parquet",
)  # fmt: skip


def test_every_name_is_taken_as_it_is_on_every_store(root: str) -> None:
    for name in STRANGE:
        store.write_whole(store.join(root, name), name.encode())
    for name in STRANGE:
        assert listed(root, name) == [name]
        [file] = store.list_files(store.join(root, name))
        with store.open_input(file.path, expected=file) as source:
            assert source.read().decode() == name
    assert listed(root, "p26 [v2] uni\u00e9#1") == ["p26 [v2] uni\u00e9#1/c.parquet"]
    assert listed(root) == sorted(name for name in STRANGE if name != "[x]")


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.parquet").touch()
    for number in range(12):
        (tmp_path / "in" / "deep" / f"up-{number}").symlink_to(tmp_path / "in")
        (tmp_path / "in" / f"self-{number}").symlink_to(".")
    assert listed(str(tmp_path / "in")) == ["deep/a.parquet"]
    assert listed(str(tmp_path / "in"), "**/*.parquet") == ["deep/a.parquet"]


NAMES = st.text(st.sampled_from("ab.[]!-_=*?1"), min_size=1, max_size=4).filter(
    lambda name: name.strip(".") != ""
)


@given(st.lists(NAMES, min_size=1, max_size=3), st.lists(st.lists(NAMES, min_size=1, max_size=3)))
def test_one_name_is_matched_as_pythons_glob_does(pattern: list[str], files: list[list[str]]):
    """Files that Python's glob finds and that are no sidecars, beside those below folders."""
    wanted = PathPattern("/".join(pattern), (".parquet",))
    with tempfile.TemporaryDirectory() as folder:
        for names in files:
            place = Path(folder, *names)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            except OSError:  # a name is both a file and a folder
                continue
        base = glob.escape(folder)
        found = glob.glob(os.path.join(base, *pattern), recursive=True)  # noqa: PTH207, PTH118
        matched = {os.path.relpath(path, folder) for path in found if Path(path).is_file()}
        every = [str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()]
    taken = {path for path in every if wanted.takes(path)}
    sidecars = {path for path in matched if any(n.startswith("_") for n in path.split("/"))}
    assert matched - sidecars <= taken <= matched | {p for p in every if p.endswith(".parquet")}
    assert all(wanted.enters(os.path.dirname(path)) for path in taken if "/" in path)  # noqa: PTH120


@pytest.mark.parametrize(
    ("path", "data"),
    [("a.parquet", True), ("a.pq", True), ("x/a.parq", False), ("_x/a.pq", False),
     ("_x=1/a.pq", True), (".x=1/a.pq", False), ("x/_a=1.pq", True), ("x/.a.pq", False),
     ("A.PARQUET", True), ("x/a.Pq", True), ("_X/A.PARQUET", False)],
)  # fmt: skip
def test_data_files_in_folders(path: str, data: bool) -> None:
    assert is_data(path, (".parquet", ".pq")) == data
