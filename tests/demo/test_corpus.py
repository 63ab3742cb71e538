from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline.demo.corpus import Document, standard_library_documents
from pipeline.errors import RunFailedError
from pipeline.ranking.qrels import read_qrels

ROOT = Path(__file__).resolve().parents[2]
QUERIES = ROOT / "conf" / "demo" / "queries.jsonl"
QRELS = ROOT / "conf" / "demo" / "qrels.tsv"

PRINT_A_HASH = """
import hashlib
from pipeline.demo.corpus import standard_library_documents
documents = [(d.doc_id, d.title, d.text) for d in standard_library_documents()]
print(hashlib.sha256(repr(documents).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return {document.doc_id: document for document in standard_library_documents()}


@pytest.fixture(scope="module")
def queries() -> dict[str, str]:
    rows = [json.loads(line) for line in QUERIES.read_text(encoding="utf-8").splitlines()]
    assert all(row.keys() == {"query_id", "query"} for row in rows)
    assert len({row["query_id"] for row in rows}) == len(rows)
    return {row["query_id"]: row["query"] for row in rows}


@pytest.fixture(scope="module")
def qrels() -> dict[str, dict[str, int]]:
    return read_qrels(QRELS.read_bytes(), str(QRELS))


def run_python(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_other_processes_and_environments_gather_the_same(
    documents: dict[str, Document], tmp_path: Path
) -> None:
    here = [(d.doc_id, d.title, d.text) for d in documents.values()]
    hashes = {hashlib.sha256(repr(here).encode()).hexdigest()}
    for seed, columns in (("1", "40"), ("2", "200")):
        done = run_python(
            *("-c", PRINT_A_HASH),
            PYTHONHASHSEED=seed,
            COLUMNS=columns,
            HOME=str(tmp_path / seed),
            TZ="Asia/Tokyo",
        )
        assert done.stderr == ""
        hashes.add(done.stdout.strip())
    assert len(hashes) == 1


def test_several_thousand_documents_sorted_by_unique_id() -> None:
    ids = [document.doc_id for document in standard_library_documents()]
    assert 4_000 < len(ids) < 9_000
    assert ids == sorted(set(ids))


def test_nothing_of_this_process_or_machine_is_in_the_texts(documents: dict[str, Document]) -> None:
    private = re.compile("|".join(map(re.escape, (sys.prefix, sys.base_prefix, str(Path.home())))))
    for document in documents.values():
        whole = f"{document.title} {document.text}"
        assert not re.search(r"\bat 0x[0-9a-f]", whole, re.IGNORECASE), document.doc_id
        assert not private.search(document.title), document.doc_id


def test_texts_are_clean_docstrings(documents: dict[str, Document]) -> None:
    for document in documents.values():
        assert document.text
        assert document.text == document.text.strip()
        assert document.title.startswith(document.doc_id)
        assert "Alias for field number" not in document.text[:30]


@pytest.mark.parametrize(
    ("doc_id", "title"),
    [
        ("zipfile", "zipfile"),
        ("zipfile.ZipFile.read", "zipfile.ZipFile.read(name, pwd=None)"),
        ("open", "open(file, mode='r', buffering=-1, encoding=None, errors=None, newline=None, "),
        ("os.path.join", "os.path.join(a, *p)"),
        ("random.choice", "random.choice(seq)"),
        ("random.random", "random.random()"),
        ("socket.socket.connect", "socket.socket.connect"),
        ("secrets.compare_digest", "secrets.compare_digest("),
        ("bisect.bisect_right", "bisect.bisect_right(a, x, lo=0, hi=None, *, key=None)"),
        ("sqlite3.Cursor.executemany", "sqlite3.Cursor.executemany("),
        ("asyncio.TaskGroup", "asyncio.TaskGroup()"),
        ("typing.Optional", "typing.Optional"),
    ],
)
def test_objects_stand_under_the_name_that_people_use(
    documents: dict[str, Document], doc_id: str, title: str
) -> None:
    assert documents[doc_id].title.startswith(title)


@pytest.mark.parametrize(
    "doc_id",
    [
        "json.decoder.JSONDecoder",  # json.JSONDecoder
        "random.Random.choice",  # random.choice
        "socket.SocketType.connect",  # socket.socket.connect
        "bisect.bisect",  # an alias
        "concurrent.futures.ThreadPoolExecutor.shutdown",  # inherited from Executor
        "collections.defaultdict.keys",  # inherited from dict
        "posixpath.join",
        "antigravity",
        "exit",
    ],
)
def test_aliases_and_inherited_docstrings_are_left_out(
    documents: dict[str, Document], doc_id: str
) -> None:
    assert doc_id not in documents


def test_what_init_says_belongs_to_its_class(documents: dict[str, Document]) -> None:
    text = documents["logging.handlers.RotatingFileHandler"].text
    assert text.startswith("Handler for logging to a set of files")
    assert "maxBytes" in text


def test_gathering_leaves_no_trace_in_this_process() -> None:
    code = (
        "import sys\n"
        "from pipeline.demo.corpus import standard_library_documents\n"
        "assert len(standard_library_documents()) > 4_000\n"
        "assert 'mailbox' not in sys.modules and 'xmlrpc.server' not in sys.modules"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_libraries_replace_in_this_process_does_not_matter(
    documents: dict[str, Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspect.isgenerator", len)
    monkeypatch.setattr("sys.excepthook", print)
    assert standard_library_documents() == list(documents.values())


def test_python_without_docstrings_still_gathers_them() -> None:
    done = run_python("-OO", "-c", PRINT_A_HASH)
    assert done.stdout == run_python("-c", PRINT_A_HASH).stdout


def test_a_failure_of_the_other_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.demo.corpus._CHILD", "raise SystemExit('no such luck')")
    with pytest.raises(RunFailedError, match="no such luck"):
        standard_library_documents()


def test_every_query_is_judged_and_has_an_answer(
    queries: dict[str, str], qrels: dict[str, dict[str, int]]
) -> None:
    assert qrels.keys() == queries.keys()
    for query_id, grades in qrels.items():
        assert len(grades) >= 8, query_id
        assert max(grades.values()) >= 2, query_id
        assert set(grades.values()) <= {0, 1, 2, 3}, query_id


def test_the_judged_documents_exist(
    documents: dict[str, Document], qrels: dict[str, dict[str, int]]
) -> None:
    judged = [(query_id, doc_id) for query_id, grades in qrels.items() for doc_id in grades]
    missing = [pair for pair in judged if pair[1] not in documents]
    if sys.version_info[:2] == (3, 11) and sys.platform == "linux":
        assert not missing
    assert len(missing) <= 0.1 * len(judged), missing


def test_the_readme_counts_what_is_there(qrels: dict[str, dict[str, int]]) -> None:
    readme = (ROOT / "conf" / "demo" / "README.md").read_text(encoding="utf-8")
    counts = Counter(grade for grades in qrels.values() for grade in grades.values())
    assert f"| {len(qrels)} | {counts.total():,} |" in readme
    assert " | ".join(str(counts[grade]) for grade in (3, 2, 1, 0)) in readme
