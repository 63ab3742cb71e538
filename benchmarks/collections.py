"""nDCG@10 of the offline model over the shared collections, through the same job that users run.

::

    python -m benchmarks.collections ../shared/data --write
    python -m benchmarks.collections ../shared/data --only trec_dl19 --only scifact

A collection is a folder with ``candidates.parquet`` and ``qrels.tsv``. Where the folder above holds
a README with the table "nDCG@10 measured with the offline model", the figures are put beside it.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import first_stage_run, ranked_run

_MEASURE = "nDCG@10"
_RESULT = Path(__file__).parent / "results" / "collections.json"
_ROW = re.compile(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|", re.M)


def expected(data: Path) -> dict[str, tuple[float, float]]:
    """Published first-stage and reranked nDCG@10 by collection."""
    text = (data / "README.md").read_text(encoding="utf-8")
    rows = text.split("measured with the offline model", 1)[-1]
    return {name: (float(a), float(b)) for name, a, b in _ROW.findall(rows)}


def locate(data: Path, name: str) -> tuple[Path, Path]:
    """Candidates and judgements of a row of the table; ``x_y`` may be variant y of folder x."""
    if (data / name).is_dir():
        return data / name / "candidates.parquet", data / name / "qrels.tsv"
    folder, variant = name.rsplit("_", 1)
    return data / folder / f"candidates_{variant}.parquet", data / folder / "qrels.tsv"


def measure(data: Path, name: str, *, cpus: int = 2) -> tuple[float, float]:
    """First-stage and reranked nDCG@10 of one collection.

    Args:
        data: the folder of collections.
        name: of the collection.
        cpus: for the network.
    """
    candidates, judged = locate(data, name)
    with tempfile.TemporaryDirectory() as temporary:
        config = JobConfig.model_validate(
            {
                "model": {"name": "all-minilm-l6-v2"},
                "input": {"path": str(candidates)},
                "output": {"path": temporary},
                # One large unit: collections repeat documents, and a unit encodes each text once.
                "units": {"documents": 40_000},
                "replicas": {"num_cpus": cpus},
                "progress": {"interval_s": 3600},
            }
        )
        outcome = execute(prepare(config))
        table = read_ranked(RunFolder(outcome.folder))
    qrels = read_qrels(judged.read_bytes(), str(judged))
    before = evaluate(first_stage_run(table, "first stage"), qrels, [_MEASURE])
    after = evaluate(ranked_run(table, "reranked"), qrels, [_MEASURE])
    return before.means[_MEASURE], after.means[_MEASURE]


def main(
    data: Annotated[Path, typer.Argument(help="The folder of collections.")],
    only: Annotated[list[str] | None, typer.Option(help="One collection; repeatable.")] = None,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Rerank every collection and compare with the table."""
    rows = {}
    for name, (first, reranked) in expected(data).items():
        if only and name not in only:
            continue
        before, after = measure(data, name)
        rows[name] = {
            "first_stage": round(before, 4),
            "reranked": round(after, 4),
            "expected_first_stage": first,
            "expected_reranked": reranked,
            "difference": round(after - reranked, 4),
        }
        typer.echo(f"{name:<22} {before:.4f} -> {after:.4f}  expected {first:.4f} -> {reranked}")
    if write:
        result = {
            "command": "python -m benchmarks.collections ../shared/data --write",
            "device": "CPU, float32",
            "measure": _MEASURE,
            "collections": rows,
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
