"""The settings of smoke training: which small student is trained on a set, and how long."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings


class StudentConfig(Settings):
    """The student of ``rerank distill --smoke-train``."""

    family: Literal["cross_encoder", "jina_v1"] | None = Field(
        None,
        description="null: a bi-encoder of word vectors with random weights, whose vocabulary is "
        "that of the set. cross_encoder or jina_v1: a cross-encoder that starts from "
        "student.weights.",
    )
    weights: str | None = Field(
        None, description="Checkpoint that the family starts from, as in model.weights."
    )
    revision: str | None = Field(None, description="Commit of a hub id, as in model.revision.")
    layers: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="Layers of that checkpoint which the student keeps, counted from 0, e.g. "
        "[0, 4, 8, 11]; null: all.",
    )
    random_weights: bool = Field(
        False, description="Take sizes and tokenizer of the checkpoint, but random weights."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the family, e.g. max_length."
    )
    vocabulary: int = Field(
        30_000, ge=1_000, description="Words of the bi-encoder; the set's most frequent."
    )
    dimensions: int = Field(256, ge=8, description="Numbers per word of the bi-encoder.")
    rows: int = Field(
        20_000, ge=1, description="Training rows at most, and dev queries; the first of the set."
    )
    epochs: int = Field(5, ge=1, description="Passes over them.")
    batch_size: int = Field(16, ge=1, description="Queries per step.")
    learning_rate: float | None = Field(
        None, gt=0, description="null: 0.2 for the bi-encoder, 5e-5 for a family."
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="Of the teacher's scores; null: what the set suggests.",
    )
    save: str | None = Field(None, description="Local folder for the trained student.")

    @model_validator(mode="after")
    def _consistent(self) -> StudentConfig:
        if (self.family is None) != (self.weights is None):
            raise ValueError("student.family and student.weights belong together; set both")
        of_family = self.layers or self.settings or self.random_weights or self.revision
        if self.family is None and of_family:
            raise ValueError(
                "student.revision, layers, settings and random_weights are for a student.family; "
                "set it"
            )
        return self
