"""The demo: search Python's own documentation, rerank it, and see whether it got better."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.table import Table
from rich.text import Text

from jobs.command import command, console, show_config
from jobs.rerank import show_outcome, show_plan
from pipeline import schema
from pipeline.config import JobConfig, load_config
from pipeline.demo.corpus import standard_library_documents
from pipeline.demo.first_stage import bm25_candidates
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import prepare
from pipeline.execution.run import begin_imports, execute
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.comparison import QueryChange, compare
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import first_stage_run, ranked_run
from pipeline.reports.evaluation_table import comparison_table
from pipeline.resources import conf_path
from pipeline.storage.parquet import to_bytes
from pipeline.storage.store import exists, join, read_bytes, write_whole

_MEASURES = ("nDCG@10", "RR@10", "R@100")
_SHOWN_QUERIES, _SHOWN_DOCUMENTS = 3, 5


def demo(
    out: Annotated[str, typer.Option("--out", help="Where every file of the demo goes.")] = (
        "out/demo"
    ),
    model: Annotated[str, typer.Option("--model", help="A model card; see `rerank models`.")] = (
        "all-minilm-l6-v2"
    ),
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the job that the demo runs and stop.")
    ] = False,
) -> None:
    """Rerank BM25 results over Python's documentation, and compare nDCG@10 before and after."""
    with command():
        candidates = join(out, "candidates.parquet")
        job = _job(candidates, join(out, "runs"), model)
        if print_config:
            show_config(job)
            return
        queries = _queries()
        _write_candidates(candidates, queries)
        begin_imports(job)
        prepared = prepare(job)
        show_plan(prepared)
        outcome = execute(prepared)
        show_outcome(outcome)
        _show_evaluation(outcome, queries)
        _show_next(out, candidates, outcome)


def _job(candidates: str, runs: str, model: str) -> JobConfig:
    return load_config(
        JobConfig,
        overrides=[
            f"model.name={model}",
            f"input.path={candidates}",
            f"output.path={runs}",
            "output.columns=[title]",
            "progress.interval_s=10",
        ],
    )


def _queries() -> dict[str, str]:
    lines = conf_path("demo/queries.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return {row["query_id"]: row["query"] for row in rows}


def _write_candidates(path: str, queries: dict[str, str]) -> None:
    """Gather the corpus and its BM25 candidates; an unchanged file keeps its identity."""
    started = time.monotonic()
    documents = standard_library_documents()
    table = bm25_candidates(documents, queries, top_k=100)
    data = to_bytes(table)
    if not (exists(path) and read_bytes(path) == data):
        write_whole(path, data)
    console.say(
        f"corpus     {len(documents):,} documents of Python's standard library; BM25 top 100 for "
        f"{len(queries)} questions in {time.monotonic() - started:.1f} s"
    )


def _show_evaluation(outcome: Outcome, queries: dict[str, str]) -> None:
    path = conf_path("demo/qrels.tsv")
    qrels = read_qrels(path.read_bytes(), str(path))
    table = read_ranked(RunFolder(outcome.folder))
    before = evaluate(first_stage_run(table, "BM25"), qrels, _MEASURES)
    after = evaluate(ranked_run(table, "reranked"), qrels, _MEASURES)
    comparison = compare(before, after, examples=_SHOWN_QUERIES)
    console.say()
    console.print(comparison_table(comparison))
    ndcg = comparison.measures[0]
    # Two that got better and one that got worse: a demo that hides its losses teaches nothing.
    shown = [*ndcg.biggest_wins[: _SHOWN_QUERIES - 1], *ndcg.biggest_losses]
    for change in [*shown, *ndcg.biggest_wins[_SHOWN_QUERIES - 1 :]][:_SHOWN_QUERIES]:
        _show_question(table, change, queries[change.query_id], qrels[change.query_id])


def _show_question(
    table: pa.Table, change: QueryChange, query: str, relevance: Mapping[str, int]
) -> None:
    rows = table.filter(pc.equal(table.column(schema.QUERY_ID), change.query_id))
    grid = Table(
        "", "BM25", "reranked", box=None, pad_edge=False, title_justify="left",
        title=f"{query}   (nDCG@10 {change.before:.2f} -> {change.after:.2f})",
    )  # fmt: skip
    columns = [
        rows.sort_by(rank).column(schema.DOC_ID).to_pylist()[:_SHOWN_DOCUMENTS]
        for rank in (schema.FIRST_STAGE_RANK, schema.RANK)
    ]
    for place, pair in enumerate(zip(*columns, strict=True), start=1):
        grid.add_row(str(place), *(_graded(doc_id, relevance) for doc_id in pair))
    console.say()
    console.print(grid)


def _graded(doc_id: str, relevance: Mapping[str, int]) -> Text:
    grade = relevance.get(doc_id, 0)
    return Text(doc_id, style="bold").append(f" {'*' * grade}") if grade else Text(doc_id)


def _show_next(out: str, candidates: str, outcome: Outcome) -> None:
    for line in (
        "",
        "Stars are the grades of our own judgements (3 = the answer). Every file:",
        f"  candidates  {candidates}",
        f"  run         {outcome.folder}  (ranked/*.parquet, manifest.json, run.json)",
        f"  questions   {conf_path('demo/queries.jsonl')}",
        f"  judgements  {conf_path('demo/qrels.tsv')}",
        "",
        "Try next:",
        "  rerank demo --print-config > job.yaml     the job that just ran, to edit for your own "
        "lists",
        "  rerank run -c job.yaml --dry-run          check an input without scoring it",
        f"  rerank status {out}/runs",
        "  rerank models",
    ):
        console.say(line)
