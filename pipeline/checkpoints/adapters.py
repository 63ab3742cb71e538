"""Which base a LoRA adapter belongs to, and which commit of either a run uses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pipeline.checkpoints import hub
from pipeline.checkpoints.locating import ADAPTER, found, locate_adapter
from pipeline.config import ModelConfig
from pipeline.errors import ModelError, NotFoundError
from pipeline.storage.home import expanded, is_folder
from pipeline.storage.store import files_below

logger = logging.getLogger("pipeline")

_BASE = "base_model_name_or_path"


def with_base(model: ModelConfig) -> ModelConfig:
    """A section whose weights are an adapter alone, as base and adapter; any other as it is.

    Of weights on a hub the commit is settled as well.

    Raises:
        NotFoundError: nothing is there, or the base that the adapter names is not.
        ModelError: the adapter names no base.
    """
    place = str(model.weights)
    if hub.is_hub_id(place):
        if model.family is not None and hub.is_commit(model.revision):
            return model  # whole, as a card's and one that was settled: no hub is asked
        model, alone = _at_a_hub(model)
    else:
        alone = not place.startswith("package:") and _alone(place)
    if not alone:
        return model
    adapter = found(place, model.revision)
    stated = adapter.table(ADAPTER, required=True)
    base = stated.get(_BASE)
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{adapter.folder / ADAPTER}: '{_BASE}' names no base; set model.weights to it, and "
            f"model.adapter to '{place}'"
        )
    if not (is_folder(base) or hub.is_hub_id(base)):
        raise NotFoundError(
            f"{adapter.folder / ADAPTER}: the base '{base}' is no folder of this machine and no "
            f"hub id; set model.weights to where it is, and model.adapter to '{place}'"
        )
    logger.info("model.weights: %s is a LoRA adapter to %s", place, base)
    return model.model_copy(
        update={
            "weights": base,
            "revision": _text(stated, "revision"),
            "adapter": place,
            "adapter_revision": model.revision,
        }
    )


def settled_adapter(model: ModelConfig, *, chosen: bool) -> ModelConfig:
    """A section with the commit of an adapter that lies on a hub, its base compared.

    Args:
        model: with weights, their commit, and an adapter.
        chosen: whether the weights were named beside the adapter; then another base than the
            adapter names is a warning, since a base may lie anywhere.

    Raises:
        NotFoundError: there is no adapter, or no such revision.
        ModelError: the adapter was made for another base.
    """
    place, revision = str(model.adapter), model.adapter_revision
    if hub.is_hub_id(place) and not hub.is_commit(revision):
        revision = hub.commit_of(place, revision, file=ADAPTER)
        model = model.model_copy(update={"adapter_revision": revision})
    adapter = locate_adapter(place, revision)
    problem = _other_base(adapter.table(ADAPTER, required=True), model)
    if problem is None:
        return model
    if not chosen:
        raise ModelError(
            f"{adapter.folder / ADAPTER}: {problem}; if that is the same network, name it in "
            "model.weights (and model.revision)"
        )
    logger.warning("model.adapter: %s: %s", place, problem)
    return model


def _at_a_hub(model: ModelConfig) -> tuple[ModelConfig, bool]:
    """The section with the commit of its weights, and whether they are an adapter alone."""
    place = str(model.weights)
    try:
        commit, alone = hub.commit_of(place, model.revision), False
    except NotFoundError as missing:
        try:
            commit, alone = hub.commit_of(place, model.revision, file=ADAPTER), True
        except NotFoundError:
            raise missing from None
    return model.model_copy(update={"revision": commit}), alone


def _alone(place: str) -> bool:
    """Whether a folder or URI holds an adapter and no network."""
    scheme, separator, rest = place.partition("://")
    if separator and scheme not in ("file", "local"):
        names = {file.path.rpartition("/")[2] for file in files_below(place)}
    else:
        folder = expanded(rest if separator else place, setting="model.weights")
        names = {path.name for path in folder.iterdir()} if is_folder(folder) else set()
    return ADAPTER in names and "config.json" not in names


def _other_base(stated: dict[str, Any], model: ModelConfig) -> str | None:
    """What the adapter says of its base that is not so; None: nothing."""
    base, commit = _text(stated, _BASE), _text(stated, "revision")
    weights = str(model.weights)
    if base is None:
        return None
    same = base.rstrip("/") == weights.rstrip("/") or _folder(base) == _folder(weights) is not None
    if not same:
        return f"the adapter was made for '{base}', and the weights are '{weights}'"
    if hub.is_commit(commit) and hub.is_commit(model.revision) and commit != model.revision:
        return f"the adapter was made for '{base}' at {commit}, and it is at {model.revision}"
    return None


def _folder(place: str) -> Path | None:
    return Path(place).resolve() if is_folder(place) else None


def _text(stated: dict[str, Any], key: str) -> str | None:
    value = stated.get(key)
    return value if isinstance(value, str) and value else None
