"""Which model scores: the section ``model`` of a job."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from pipeline.config.base import Settings


class ModelConfig(Settings):
    """Which reranker scores the candidates."""

    name: str | None = Field(
        None,
        description="A model card (see `rerank models`) or the .yaml file of one of yours, which "
        "fills the keys below; or the place of a checkpoint without a card, as model.weights.",
    )
    family: str | None = Field(
        None,
        description="The file in pipeline/rerankers that runs the model, or the dotted path of a "
        "module of yours, which the command must allow with --allow-code; default: the card's, or "
        "what the checkpoint's files say.",
    )
    weights: str | None = Field(
        None,
        description="Where the checkpoint lies: a local folder, an fsspec URI (s3://...), "
        "`package:NAME` for one carried by a Python package, or a hub id.",
    )
    revision: str | None = Field(
        None,
        description="Commit, branch or tag of a hub id; default: its default branch. It is "
        "resolved to a commit once, when the run is planned, and a resumed run uses that.",
    )
    adapter: str | None = Field(
        None,
        description="LoRA adapter that is merged into the weights while they are read, of any "
        "family: a folder, URI or hub id. Where model.name is the place of an adapter alone, its "
        "base is found by adapter_config.json.",
    )
    adapter_revision: str | None = Field(
        None, description="As model.revision, of an adapter with a hub id."
    )
    sha256: str | None = Field(
        None, description="Expected sha256 of model.safetensors; checked before loading."
    )
    digest: str | None = Field(
        None,
        description="Expected digest of every file of the checkpoint that matters, as `rerank "
        "models add` writes it into a card; checked before loading.",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the family, e.g. max_length, truncation."
    )

    @model_validator(mode="after")
    def _named_or_explicit(self) -> ModelConfig:
        if self.name is None and self.family is None and self.weights is None:
            raise ValueError(
                "set model.name (a card, or the place of a checkpoint), model.weights, or "
                "model.family"
            )
        return self
