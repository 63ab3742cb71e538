"""Model cards: what is known of a model, as data.

Published ones are in ``conf/models/*.yaml``; those of the user's own, which ``rerank models add``
writes, in the folder that ``RERANK_MODELS`` names, or wherever ``model.name`` names the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from pipeline.config import ModelConfig, Settings, load_config
from pipeline.config.reading.loading import nearest
from pipeline.errors import ConfigurationError
from pipeline.resources import conf_path
from pipeline.storage.home import is_file, is_folder

#: Names a folder with cards of the user's own.
MODELS: Final = "RERANK_MODELS"


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
    adapter: str | None = Field(None, description="LoRA adapter that belongs to the weights.")
    adapter_revision: str | None = Field(None, description="The adapter's commit.")
    sha256: str | None = Field(None, description="sha256 of model.safetensors at that commit.")
    digest: str | None = Field(
        None, description="Digest of every file of the checkpoint that matters, as in run.json."
    )
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
    """Every card's name: those that are shipped, and those of ``RERANK_MODELS``.

    Raises:
        ConfigurationError: one of yours has the name of one that is shipped, or
            ``RERANK_MODELS`` names no folder.
    """
    return sorted(_files())


def shipped() -> list[str]:
    """Names of the cards that come with this package."""
    return sorted(path.stem for path in conf_path("models").glob("*.yaml"))


def read(name: str) -> Card:
    """One card.

    Args:
        name: of a card, or the path of a card's ``.yaml`` file.

    Raises:
        ConfigurationError: there is none of that name, or it is not valid.
    """
    path = _file_of(name)
    if path is None:
        raise ConfigurationError(f"model.name: no model card '{name}'; {nearest(name, names())}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as a model card: {error}") from None
    card = load_config(Card, text, source=str(path))
    if card.name != path.stem:
        raise ConfigurationError(
            f"{path}: 'name' is '{card.name}', expected the file's '{path.stem}'"
        )
    return card


def known(name: str | None) -> Card | None:
    """The card of a name or file; None where it is the name of something else, or none."""
    return read(name) if name is not None and _file_of(name) is not None else None


def plain_name(name: str | None) -> str | None:
    """``model.name`` as files say it: of a card's file the card's name, also where it is gone."""
    return Path(name).stem if name is not None and name.endswith(".yaml") else name


def card_of(name: object) -> Card | None:
    """The card that a name or a published checkpoint's hub id stands for; None: none does."""
    if not isinstance(name, str):
        return None
    if "/" not in name or is_folder(name) or _is_card_file(name):
        return known(name)
    return next((card for card in map(read, shipped()) if card.weights == name), None)


def _files() -> dict[str, Path]:
    """The file of every card by its name."""
    found = {path.stem: path for path in conf_path("models").glob("*.yaml")}
    folder = os.environ.get(MODELS)
    if folder and not is_folder(folder):
        raise ConfigurationError(
            f"{MODELS}: no folder '{folder}'; expected one with model cards (NAME.yaml)"
        )
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        if path.stem in found:
            raise ConfigurationError(
                f"{path}: '{path.stem}' is the name of a card that is shipped; rename yours, or "
                f"take it out of the folder that {MODELS} names"
            )
        found[path.stem] = path
    return found


def _file_of(name: str) -> Path | None:
    return Path(name) if _is_card_file(name) else _files().get(name)


def _is_card_file(name: str) -> bool:
    """Whether a name is that of a card's file, by its end and because there is one."""
    return name.endswith(".yaml") and is_file(name)


def resolve(model: ModelConfig) -> ModelConfig:
    """Fill a job's model section from its card; what the job sets itself wins.

    A card's file may be gone when a run is resumed: the section was filled when it was planned.
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
        name=_lasting_name(model.name, card),
        family=model.family or card.family,
        weights=model.weights or card.weights,
        revision=model.revision if own_weights else model.revision or card.revision,
        adapter=model.adapter or card.adapter,
        adapter_revision=model.adapter_revision
        if model.adapter not in (None, card.adapter)
        else model.adapter_revision or card.adapter_revision,
        sha256=model.sha256 if own_weights else model.sha256 or card.sha256,
        digest=model.digest if own_weights else model.digest or card.digest,
        settings={**card.settings, **model.settings},
    )


def _lasting_name(name: str, card: Card) -> str:
    """A card's name where every machine has it, else its file, whatever the environment says."""
    if _is_card_file(name) or card.name in shipped():
        return name if _is_card_file(name) else card.name
    return str(_files()[card.name])


def _at_a_place(model: ModelConfig) -> ModelConfig:
    name = str(model.name)
    if name.endswith(".yaml") and not is_folder(name):
        if model.family is not None and model.weights is not None:
            return model
        raise ConfigurationError(
            f"model.name: no file '{name}'; a name that ends in .yaml is the file of a model card, "
            "which `rerank models add` writes"
        )
    if not _is_place(name):
        raise ConfigurationError(
            f"model.name: no model card '{name}'; {nearest(name, names())}, or the place of a "
            "checkpoint: a folder, a URI or a hub id owner/name"
        )
    if model.adapter == name and model.weights is not None:
        return model  # an adapter alone, settled before
    if model.weights not in (None, name):
        raise ConfigurationError(
            f"model.name: '{name}' is no card but the place of a checkpoint, and so is "
            f"model.weights ('{model.weights}'); leave one of them out"
        )
    return model.model_copy(update={"weights": name})


def _is_place(name: str) -> bool:
    """Whether a name may be where a checkpoint lies: no card's name has a slash or a colon."""
    return "/" in name or name.startswith(("package:", ".", "~")) or is_folder(name)
