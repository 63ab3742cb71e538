"""Train a small student on a set with sentence-transformers, and measure it before and after.

Bi-encoders learn by ``DistillKLDivLoss``, cross-encoders by ``ListNetLoss``; both compare the
student's distribution over a list with softmax(teacher's scores / temperature). The rows are those
that the exports of these losses hold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any, Final

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
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.ranking.comparison import Comparison, compare
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.reports.student_table import student_json
from pipeline.storage.store import join, write_whole

MEASURES: Final = ("nDCG@10", "RR@10")
BEFORE, AFTER, TEACHER = "untrained", "trained", "teacher"

_COSINE_TEMPERATURE: Final = 0.05
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
    student = _student(config, rows)
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


@dataclass(frozen=True)
class _BiEncoder:
    model: Any

    def rank(self, lists: Sequence[DevList]) -> list[Floats]:
        from sentence_transformers.util import cos_sim

        queries = self.model.encode([one.query for one in lists], show_progress_bar=False)
        scores = []
        for one, query in zip(lists, queries, strict=True):
            documents = self.model.encode(one.texts, show_progress_bar=False)
            scores.append(cos_sim(query, documents)[0].numpy())
        return scores

    def trainer(self, arguments: dict[str, Any], rows: Any, temperature: float) -> Any:
        from sentence_transformers import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
        from sentence_transformers.util import pairwise_cos_sim

        loss = DistillKLDivLoss(
            self.model,
            similarity_fct=pairwise_cos_sim,
            student_temperature=_COSINE_TEMPERATURE,
            teacher_temperature=temperature,
        )
        return _plain(SentenceTransformerTrainer)(
            model=self.model,
            args=SentenceTransformerTrainingArguments(**arguments),
            train_dataset=rows,
            loss=loss,
        )


@dataclass(frozen=True)
class _CrossEncoder:
    model: Any

    def rank(self, lists: Sequence[DevList]) -> list[Floats]:
        scores = []
        for one in lists:
            pairs = [(one.query, text) for text in one.texts]
            found = self.model.predict(pairs, show_progress_bar=False)
            scores.append(np.asarray(found, dtype=np.float32))
        return scores

    def trainer(self, arguments: dict[str, Any], rows: Any, temperature: float) -> Any:
        from sentence_transformers import CrossEncoderTrainer, CrossEncoderTrainingArguments
        from sentence_transformers.cross_encoder.losses import ListNetLoss

        softened = rows.map(partial(_divided, by=temperature), batched=True)
        return _plain(CrossEncoderTrainer)(
            model=self.model,
            args=CrossEncoderTrainingArguments(**arguments),
            train_dataset=softened,
            loss=ListNetLoss(self.model),
        )


def _student(config: StudentConfig, rows: pa.Table) -> _BiEncoder | _CrossEncoder:
    if config.family is None:
        from pipeline.distillation.student.word_vectors import word_vectors

        texts = (
            text
            for name in rows.column_names
            if name != "scores"
            for text in rows.column(name).to_pylist()
        )
        return _BiEncoder(word_vectors(texts, config))
    if config.family == "jina_v1":
        from pipeline.distillation.student.jina_bert import jina_bert

        return _CrossEncoder(jina_bert(config))
    from pipeline.distillation.student.cross_encoder import cross_encoder

    return _CrossEncoder(cross_encoder(config))


def _train(
    student: _BiEncoder | _CrossEncoder,
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


def _plain(trainer: Any) -> Any:
    """The trainer without its model card, which would tokenise the whole set once more."""

    class Plain(trainer):  # type: ignore[misc]
        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            return None

    return Plain


def _divided(batch: dict[str, Any], by: float) -> dict[str, Any]:
    return {"scores": [[score / by for score in one] for one in batch["scores"]]}


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
    found = {
        name: evaluate(ranking(name, lists, scores), judged, MEASURES)
        for name, scores in (
            (BEFORE, before), (AFTER, after), (TEACHER, [one.teacher for one in lists]),
        )
    }  # fmt: skip
    return Trained(
        comparison=compare(found[BEFORE], found[AFTER]),
        teacher=found[TEACHER],
        rows=rows,
        dev_queries=len(lists),
        documents=float(np.mean([len(one.doc_ids) for one in lists])),
        seconds=seconds,
        saved=saved,
    )


def _require_library() -> None:
    """Raise where the extra ``train`` is not installed."""
    from importlib.util import find_spec

    missing = [n for n in ("sentence_transformers", "datasets", "accelerate") if not find_spec(n)]
    if missing:
        raise ConfigurationError(
            f"smoke training needs {', '.join(missing)}; install it: "
            "pip install 'rerank-pipeline[train]'"
        )
