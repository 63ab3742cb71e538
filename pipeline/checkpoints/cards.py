"""Model cards: what is known of each published model, as data in ``conf/models/*.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import ModelConfig, Settings, load_config
from pipeline.config.loading import nearest
from pipeline.errors import ConfigurationError
from pipeline.resources import conf_path


class Example(Settings):
    """Scores that somebody stated, to check a checkpoint and this code against."""

    source: str = Field(description="Where they were published and how they were computed.")
    scale: Literal[
        "logit",
        "probability",
        "cosine",
        "dot",
        "maxsim",
        "expected_grade",
        "preference",
        "overlap",
    ] = Field(description="What the stated scores are.")
    tolerance: float = Field(
        gt=0,
        description="Largest difference accepted: in logits for logits and probabilities, else in "
        "the scores' own unit.",
    )
    pairs: tuple[tuple[str, str], ...] = Field(
        min_length=1, description="Query and document; neighbours of one query are one list."
    )
    scores: tuple[float, ...] = Field(description="One score per pair.")

    @model_validator(mode="after")
    def _one_score_each(self) -> Example:
        if len(self.pairs) != len(self.scores):
            raise ValueError(f"{len(self.pairs)} pairs but {len(self.scores)} scores")
        return self


class Card(Settings):
    """One published model."""

    name: str = Field(description="The card's file name, and `model.name` in a job.")
    family: str = Field(description="The file in pipeline/rerankers that runs it.")
    weights: str | None = Field(None, description="Where it is published.")
    revision: str | None = Field(None, description="The commit that the card was written for.")
    revision_source: str | None = Field(None, description="Where that commit is named.")
    sha256: str | None = Field(None, description="sha256 of model.safetensors at that commit.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the family.")
    score_scale: str = Field(description="What a score is: logit, cosine, maxsim, probability, ...")
    max_tokens: int | None = Field(None, description="Longest sequence that the model takes.")
    licence: str = Field(description="Licence of the weights, as stated by the publisher.")
    licence_source: str | None = Field(None, description="Where the publisher states it.")
    note: str = Field("", description="What to know before using it.")
    examples: tuple[Example, ...] = Field(
        (), description="Stated scores, such as the publisher's own; `rerank verify` runs them."
    )


def names() -> list[str]:
    """Every card's name."""
    return sorted(path.stem for path in conf_path("models").glob("*.yaml"))


def read(name: str) -> Card:
    """One card.

    Raises:
        ConfigurationError: there is none of that name, or it is not valid.
    """
    if name not in names():
        raise ConfigurationError(f"model.name: no model card '{name}'; {nearest(name, names())}")
    path = conf_path(f"models/{name}.yaml")
    card = load_config(Card, path.read_text(encoding="utf-8"), source=str(path))
    if card.name != name:
        raise ConfigurationError(f"{path}: 'name' is '{card.name}', expected the file's '{name}'")
    return card


def known(name: str | None) -> Card | None:
    """The card of a name; None where it is the name of something else, or none."""
    return read(name) if name is not None and name in names() else None


def card_of(name: object) -> Card | None:
    """The card that a name or a published checkpoint's hub id stands for; None: none does."""
    if not isinstance(name, str):
        return None
    if "/" not in name or Path(name).is_dir():
        return known(name)
    return next((card for card in map(read, names()) if card.weights == name), None)


def resolve(model: ModelConfig) -> ModelConfig:
    """Fill a job's model section from its card; what the job sets itself wins.

    Without a card ``model.name`` is the place of the weights: a folder, URI or hub id. That of a
    published checkpoint that has a card stands for the card.

    Raises:
        ConfigurationError: ``model.name`` is neither.
    """
    if model.name is None:
        return model
    card = card_of(model.name)
    if card is None:
        return _at_a_place(model)
    own_weights = model.weights is not None and model.weights != card.weights
    return ModelConfig(
        name=card.name,
        family=model.family or card.family,
        weights=model.weights or card.weights,
        revision=model.revision if own_weights else model.revision or card.revision,
        sha256=model.sha256 if own_weights else model.sha256 or card.sha256,
        settings={**card.settings, **model.settings},
    )


def _at_a_place(model: ModelConfig) -> ModelConfig:
    name = str(model.name)
    if not _is_place(name):
        raise ConfigurationError(
            f"model.name: no model card '{name}'; {nearest(name, names())}, or the place of a "
            "checkpoint: a folder, a URI or a hub id owner/name"
        )
    if model.weights not in (None, name):
        raise ConfigurationError(
            f"model.name: '{name}' is no card but the place of a checkpoint, and so is "
            f"model.weights ('{model.weights}'); leave one of them out"
        )
    return model.model_copy(update={"weights": name})


def _is_place(name: str) -> bool:
    """Whether a name may be where a checkpoint lies: no card's name has a slash or a colon."""
    return "/" in name or name.startswith(("package:", ".", "~")) or Path(name).is_dir()
