"""Every command of the pages is run, in their order, in a folder that holds what they speak of.

Commands that need what a test machine has not (a cluster, a GPU, buckets, weights of a hub) are
excused by name and reason. Tests that run are marked ``pages``: CI runs them by themselves.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.docs.test_docs import ROOT, commands_of, documented_commands
from tests.makers import long_table

#: Walked in this order, for later pages look at what earlier ones made.
WALKED = (
    "quickstart", "commands", "inspect", "input", "staging", "choosing", "jobs",
    "compare", "fusion", "changes", "publications", "distillation", "training_formats",
    "reliability", "doctor", "cost", "monitoring", "metrics", "report", "evaluation",
)  # fmt: skip

#: What is not run here, and why.
EXCUSED = {
    r"rerank submit ": "needs a Ray cluster; tests/jobs/test_submit.py has one",
    r"--device cuda": "needs a GPU",
    r"^rerank bench ": "takes minutes; tests/bench runs small ones",
    r"s3://|teams/": "needs a bucket or hub of yours",
    r"bge-reranker-v2-m3,|compare .*bge-reranker-base|model\.name=bge-reranker-v2-m3":
        "needs weights of a hub; tests/checkpoints/test_hub.py has a hub",
    r"verify |models/tickets-v3|rerank-models": "needs weights of yours; tests/jobs/test_verify.py",
    r"--start-ray": "takes Ray's start; tests/jobs/test_doctor.py",
    r"/var/lib/": "needs a folder of the system",
    r"allow-code my_rerankers": "tests/docs/test_recipes.py runs it",
    r"smoke-train|out/student": "takes minutes; tests/distillation/student",
    r"^rerank --help$": "is what tests/docs/test_docs.py asks every command for",
    r"nights\.yaml|2026-01-31|new query looks wrong|diff out/refresh":
        "tests/docs/test_refresh.py runs the two nights of refresh.md",
    r"rerank feed |--accept": "tests/refresh runs feeds and gates",
    r"\$": "examples/*.sh are run as they are by `make examples`",
    r"rerank rollback |out/nights 3 4|rerank diff out/nights":
        "needs two nights; tests/docs/test_refresh.py has them",
    r"^rerank demo": "examples/rerank.sh and tests/demo run it",
    r"\./my-checkpoint": "tests/checkpoints/test_naming.py has one",
    r"\.\./shared/data": "needs collections that are not in the repository",
}  # fmt: skip

#: What stands for a set in the pages.
SETS = ("out/distill/0123456789abcdef", "out/sets/1b2c")


def excuse(line: str) -> str | None:
    """Why a command is not run; None where it is."""
    return next((why for what, why in EXCUSED.items() if re.search(what, line)), None)


def lines_of(page: str) -> list[str]:
    """Commands of a page, in its order."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|console|sh)\n(.*?)```", text, re.S)
    return [" ".join(line.split()) for block in blocks for line in commands_of(block)]


def test_every_documented_command_is_walked_or_excused() -> None:
    walked = {line for page in WALKED for line in lines_of(page)}
    documented = {" ".join(line.split()) for line in documented_commands()}
    assert {line for line in documented - walked if excuse(line) is None} == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Candidates in every form that the pages name, judgements, and ``conf`` beside them."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "conf").symlink_to(ROOT / "conf")
    rows = long_table(queries=20, documents=8).to_pylist()
    table = pa.Table.from_pylist([r | {"doc_id": f"{r['query_id']}-{r['doc_id']}"} for r in rows])
    for name in ("candidates.parquet", "candidates/part-0.parquet", "out/demo/candidates.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
    _write_texts(folder, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def _write_texts(folder: Path, table: pa.Table) -> None:
    rows = table.to_pylist()
    texts = {row["doc_id"]: row["text"] for row in rows}
    queries = {row["query_id"]: row["query"] for row in rows}
    run = [f"{r['query_id']} Q0 {r['doc_id']} 1 {r['first_stage_score']} bm25" for r in rows]
    judged = [f"{r['query_id']} 0 {r['doc_id']} {int(r['doc_id'][-1] < '3')}" for r in rows]
    beir = folder / "beir" / "scifact"
    beir.mkdir(parents=True)
    for place, content in {
        "qrels.tsv": judged,
        "run.trec": run,
        "beir/scifact/run.trec": run,
        "collection.tsv": [f"{key}\t{text}" for key, text in texts.items()],
        "queries.tsv": [f"{key}\t{text}" for key, text in queries.items()],
        "candidates.tsv": [
            "\t".join((row["query_id"], row["doc_id"], row["query"], row["text"])) for row in rows
        ],
        "beir/scifact/corpus.jsonl": [
            json.dumps({"_id": key, "title": "", "text": text}) for key, text in texts.items()
        ],
        "beir/scifact/queries.jsonl": [
            json.dumps({"_id": key, "text": text}) for key, text in queries.items()
        ],
    }.items():
        (folder / place).write_text("\n".join(content) + "\n", encoding="utf-8")


def _filled(word: str, folder: Path) -> str:
    """The word with what is in the folder in place of a page's placeholder."""
    runs = sorted(path.parent.name for path in folder.glob("out/mine/*/_SUCCESS"))
    sets = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("out/*/*/set.json"))
    known = {"RUN": runs[:1], "OTHER": runs[-1:], "out/nightly": ["out/refresh"]}
    known["out/earlier"] = [f"out/mine/{run}" for run in runs[:1]]
    known |= dict.fromkeys(SETS, sets[:1])
    for name, found in known.items():
        if found and re.search(rf"(^|/){re.escape(name)}$", word):
            return word[: -len(name)] + found[0]
    return word


@pytest.mark.pages
@pytest.mark.parametrize("page", WALKED)
def test_the_commands_of_a_page_do_what_they_say(page: str, folder: Path) -> None:
    for line in lines_of(page):
        if excuse(line) is not None:
            continue
        words, _, to = re.sub(r" 2>>? \S+$", "", line).partition(" > ")
        given = [_filled(word, folder) for word in shlex.split(words)[1:]]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.stderr}"
        if to:
            (folder / to.strip()).write_text(done.stdout, encoding="utf-8")
