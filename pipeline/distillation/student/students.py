"""The kinds of students: how each ranks a list, and by which loss it learns.

Both compare the student's distribution over a list with softmax(teacher's scores / temperature):
bi-encoders by ``DistillKLDivLoss``, cross-encoders by ``ListNetLoss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from pipeline.checkpoints import hub
from pipeline.config.student import StudentConfig
from pipeline.distillation.student.dev_lists import DevList, Floats

_COSINE_TEMPERATURE: Final = 0.05


class Student(Protocol):
    """A model of sentence-transformers that can rank lists and be trained to."""

    @property
    def model(self) -> Any:
        """The model of the library."""

    def rank(self, lists: Sequence[DevList]) -> list[Floats]:
        """A score per document of each list; higher is better."""

    def trainer(self, arguments: dict[str, Any], rows: Any, temperature: float) -> Any:
        """The library's trainer.

        Args:
            arguments: of the library's training arguments.
            rows: training rows in the format of the loss, as a Dataset.
            temperature: that the teacher's scores are divided by.
        """


@dataclass(frozen=True)
class _BiEncoder:
    model: Any

    def rank(self, lists: Sequence[DevList]) -> list[Floats]:
        from sentence_transformers.util import cos_sim

        queries = self.model.encode([dev.query for dev in lists], show_progress_bar=False)
        scores = []
        for dev, query in zip(lists, queries, strict=True):
            documents = self.model.encode(dev.texts, show_progress_bar=False)
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
        for dev in lists:
            pairs = [(dev.query, text) for text in dev.texts]
            predicted = self.model.predict(pairs, show_progress_bar=False)
            scores.append(np.asarray(predicted, dtype=np.float32))
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


def student_of(config: StudentConfig, rows: pa.Table) -> Student:
    """The configured student before training.

    Args:
        config: the student.
        rows: training rows, whose words are the vocabulary of a student without a family.

    Raises:
        ConfigurationError: ``student.revision`` is of weights that are no hub id.
        ModelError: the checkpoint to start from does not fit.
    """
    if config.family is None:
        from pipeline.distillation.student.word_vectors import word_vectors

        texts = (
            text
            for name in rows.column_names
            if name != "scores"
            for text in rows.column(name).to_pylist()
        )
        return _BiEncoder(word_vectors(texts, config))
    hub.refuse_revision(config.revision, str(config.weights), setting="student.revision")
    if config.family == "jina_v1":
        from pipeline.distillation.student.jina_bert import jina_bert

        return _CrossEncoder(jina_bert(config))
    from pipeline.distillation.student.cross_encoder import cross_encoder

    return _CrossEncoder(cross_encoder(config))


def _plain(trainer: Any) -> Any:
    """The trainer without its model card, which would tokenise the whole set once more."""

    class Plain(trainer):  # type: ignore[misc]
        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            return None

    return Plain


def _divided(batch: dict[str, Any], by: float) -> dict[str, Any]:
    return {"scores": [[score / by for score in scores] for scores in batch["scores"]]}
