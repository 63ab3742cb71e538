"""Train a small student on a set with sentence-transformers, and measure it before and after.

The rows are those that the exports of the students' losses hold, see
:mod:`pipeline.distillation.student.students`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.student import StudentConfig
from pipeline.distillation.formats.support.finding import build
from pipeline.distillation.rules import canonical
from pipeline.distillation.student.dev_lists import (
    DevList,
    Floats,
    judgements,
    ranking,
    read_dev_lists,
)
from pipeline.distillation.student.students import Student, student_of
from pipeline.errors import InputContractError
from pipeline.extras import missing_error
from pipeline.ranking.comparison import Comparison, compare
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.reports.student_table import student_json
from pipeline.storage.store import join, write_whole

MEASURES: Final = ("nDCG@10", "RR@10")
BEFORE, AFTER, TEACHER = "untrained", "trained", "teacher"

_LIST_FORMAT: Final = "sentence_transformers_labeled_list"
_COLUMN_FORMAT: Final = "sentence_transformers_distill_kldiv"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What smoke training showed.

    Attributes:
        comparison: the student before and after, on the dev split.
        teacher: the teacher's own order of the same lists.
        rows: training rows.
        dev_queries: queries that were ranked.
        documents: documents of a dev list, on average.
        seconds: of training alone.
        saved: where the student lies, if it was asked for.
    """

    comparison: Comparison
    teacher: Evaluation
    rows: int
    dev_queries: int
    documents: float
    seconds: float
    saved: str | None


def smoke_train(
    set_path: str, config: StudentConfig, *, temperature: float | None, seed: int
) -> Trained:
    """Train the configured student on the train split and rank the dev split with it.

    Args:
        set_path: folder of a finished set.
        config: the student.
        temperature: what the set suggests for its scores.
        seed: of weights and of the order of rows.

    Raises:
        ConfigurationError: sentence-transformers is not installed, or the student is not usable.
        InputContractError: the set has nothing to train on or to measure with.
        ModelError: the checkpoint to start from does not fit.
    """
    _require_library()
    import torch

    lists = read_dev_lists(set_path, config.rows)
    torch.manual_seed(seed)
    form = _COLUMN_FORMAT if config.family is None else _LIST_FORMAT
    rows = read_rows(set_path, form, config.rows)
    student = student_of(config, rows)
    before = student.rank(lists)
    started = time.monotonic()
    _train(student, rows, config, config.temperature or temperature or 1.0, seed)
    seconds = time.monotonic() - started
    after = student.rank(lists)
    if config.save is not None:
        student.model.save_pretrained(config.save, create_model_card=False)
    return _measured(lists, before, after, rows=rows.num_rows, seconds=seconds, saved=config.save)


def write_result(set_path: str, config: StudentConfig, trained: Trained) -> str:
    """Write ``student.json`` beside the set; returns its path."""
    result = {
        "student": config.model_dump(mode="json"),
        "measures": student_json(trained.comparison, trained.teacher),
        "training_rows": trained.rows,
        "training_seconds": round(trained.seconds, 1),
        "dev_queries": trained.dev_queries,
        "documents_per_dev_list": round(trained.documents, 2),
        "versions": {
            name: version(name) for name in ("sentence-transformers", "torch", "transformers")
        },
    }
    path = join(set_path, "student.json")
    write_whole(path, json.dumps(result, indent=2).encode() + b"\n")
    return path


def read_rows(set_path: str, form: str, limit: int) -> pa.Table:
    """The first ``limit`` training rows of a set in a format.

    Raises:
        InputContractError: there is none.
    """
    rules = canonical.read_description(set_path)["rules"]
    made, tables, count = build(form, {}, rules=rules), [], 0
    for part in canonical.read_parts(set_path, canonical.TRAIN):
        for data in made.write(part, split=canonical.TRAIN, part="rows").files.values():
            tables.append(pq.read_table(BytesIO(data)))
            count += tables[-1].num_rows
        if count >= limit:
            break
    if not count:
        raise InputContractError(f"{set_path}: no query can be used to train on; see its card")
    return pa.concat_tables(tables).slice(0, limit)


def _train(
    student: Student,
    rows: pa.Table,
    config: StudentConfig,
    temperature: float,
    seed: int,
) -> None:
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback

    disable_progress_bars()
    rate = config.learning_rate or (0.2 if config.family is None else 5e-5)
    with TemporaryDirectory() as folder:
        arguments = {
            "output_dir": folder,
            "num_train_epochs": config.epochs,
            "per_device_train_batch_size": config.batch_size,
            "learning_rate": rate,
            "warmup_steps": 0.1,
            "seed": seed,
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
        }
        trainer = student.trainer(arguments, Dataset(rows), temperature)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _measured(
    lists: Sequence[DevList],
    before: Sequence[Floats],
    after: Sequence[Floats],
    *,
    rows: int,
    seconds: float,
    saved: str | None,
) -> Trained:
    judged = judgements(lists)
    evaluations = {
        name: evaluate(ranking(name, lists, scores), judged, MEASURES)
        for name, scores in (
            (BEFORE, before), (AFTER, after), (TEACHER, [dev.teacher for dev in lists]),
        )
    }  # fmt: skip
    return Trained(
        comparison=compare(evaluations[BEFORE], evaluations[AFTER]),
        teacher=evaluations[TEACHER],
        rows=rows,
        dev_queries=len(lists),
        documents=float(np.mean([len(dev.doc_ids) for dev in lists])),
        seconds=seconds,
        saved=saved,
    )


def _require_library() -> None:
    """Raise where the extra ``train`` is not installed."""
    from importlib.util import find_spec

    missing = [n for n in ("sentence_transformers", "datasets", "accelerate") if not find_spec(n)]
    if missing:
        raise missing_error(missing, extra="train", needed_by="smoke training")
