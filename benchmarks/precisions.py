"""What reduced precision does to a ranking: a judged collection in several precisions, on CPU.

::

    python -m benchmarks.precisions ../shared/data/scifact
    python -m benchmarks.precisions ../shared/data/trec_dl19 --precision int8

A collection is a folder with ``candidates.parquet`` and ``qrels.tsv``. Every precision scores the
same lists twice, in batches of two sizes, so that what a score owes to its batch shows as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

import pipeline
from jobs.bench import write_result
from pipeline import schema
from pipeline.bench.machine import machine, versions
from pipeline.candidates.inputs import open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.engine.agreement import Sampled
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.ranks import rank_lists
from pipeline.ranking.runs import Run
from pipeline.sequences.arrays import Floats
from pipeline.sequences.ragged import ragged_range

_MEASURE = "nDCG@10"
_REFERENCE = "float32"

#: Tokens of a forward pass: one passage or few, and as many as suit a CPU.
_BUDGETS = (512, 2_048)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A precision beside float32.

    Attributes:
        ndcg: nDCG@10, mean over the judged queries among those scored.
        most: largest difference of a score from float32's.
        overlap: share of float32's ten best of each list that are among the ten best here.
        tau: Kendall's tau-b with float32's order, mean over lists.
        batch: largest difference of a score between batches of the two sizes.
    """

    ndcg: float
    most: float
    overlap: float
    tau: float
    batch: float


def measure(
    folder: Path, model: str, precisions: Sequence[str], *, queries: int, candidates: int
) -> dict[str, Found]:
    """Score a collection's first lists in float32 and in other precisions.

    Args:
        folder: of the collection.
        model: a card.
        precisions: as ``engine.dtype`` of a job.
        queries: lists that are scored.
        candidates: of each, the first stage's best.
    """
    lists = _lists(folder / "candidates.parquet", queries, candidates)
    judged = folder / "qrels.tsv"
    qrels = read_qrels(judged.read_bytes(), str(judged))
    held = set(lists.queries.column(schema.QUERY_ID).to_pylist())
    qrels = {query: judgements for query, judgements in qrels.items() if query in held}
    scores = {
        precision: [_scored(model, precision, lists, budget) for budget in _BUDGETS]
        for precision in dict.fromkeys([_REFERENCE, *precisions])
    }
    _, reference = scores[_REFERENCE]
    found = {}
    for precision, (small, large) in scores.items():
        apart = Sampled()
        for first, last in pairwise(lists.offsets.tolist()):
            apart = apart.add(large[first:last], reference[first:last])
        plain = apart.plain()
        found[precision] = Found(
            ndcg=evaluate(_run(lists, large, precision), qrels, [_MEASURE]).means[_MEASURE],
            most=plain["most"],
            overlap=plain["overlap"],
            tau=plain["tau"],
            batch=float(np.nanmax(np.abs(large - small))),
        )
    return found


def _lists(path: Path, queries: int, candidates: int) -> CandidateLists:
    source = open_input(InputConfig(path=str(path)))
    lists = read_lists(source, 0, source.rows, separator=" ")
    counts = np.minimum(np.diff(lists.offsets)[:queries], candidates)
    return CandidateLists(
        queries=lists.queries.slice(0, len(counts)),
        offsets=np.append(0, np.cumsum(counts)),
        documents=lists.documents.take(ragged_range(lists.offsets[: len(counts)], counts)),
    )


def _scored(model: str, precision: str, lists: CandidateLists, budget: int) -> Floats:
    ranker = pipeline.load(
        model, device="cpu", dtype=precision, token_budget=budget, min_overlap=0.0
    )
    return ranker.score_lists(lists)


def _run(lists: CandidateLists, scores: Floats, name: str) -> Run:
    doc_ids = lists.documents.column(schema.DOC_ID).combine_chunks()
    first_ranks = lists.documents.column(schema.FIRST_STAGE_RANK).to_numpy()
    order, _ = rank_lists(scores, first_ranks, doc_ids, lists.query_of_document)
    ordered = doc_ids.cast(pa.string()).take(pa.array(order)).to_pylist()
    queries = lists.queries.column(schema.QUERY_ID).cast(pa.string()).to_pylist()
    bounds = pairwise(lists.offsets.tolist())
    return Run(name, {q: ordered[a:b] for q, (a, b) in zip(queries, bounds, strict=True)})


def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a collection.")],
    model: Annotated[str, typer.Option(help="A model card.")] = "all-minilm-l6-v2",
    precision: Annotated[
        list[str] | None, typer.Option(help="As engine.dtype; default: bfloat16 and int8.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Lists that are scored.")] = 20,
    candidates: Annotated[int, typer.Option(min=2, help="Of each, the first ones.")] = 20,
    write: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Compare precisions on one judged collection."""
    found = measure(
        folder, model, precision or ["bfloat16", "int8"], queries=queries, candidates=candidates
    )
    typer.echo(f"{'precision':<10} {_MEASURE:>8} {'top 10':>7} {'tau':>7} {'most':>9} {'batch':>9}")
    for name, one in found.items():
        typer.echo(
            f"{name:<10} {one.ndcg:>8.4f} {one.overlap:>7.3f} {one.tau:>7.3f} {one.most:>9.1e} "
            f"{one.batch:>9.1e}"
        )
    if write is not None:
        result = {
            "command": f"python -m benchmarks.precisions {folder} --model {model} "
            f"--queries {queries} --candidates {candidates}",
            "machine": machine("cpu"),
            "versions": versions(),
            "token_budgets": _BUDGETS,
            "precisions": {name: asdict(one) for name, one in found.items()},
        }
        write_result(write, result)


if __name__ == "__main__":
    typer.run(main)
