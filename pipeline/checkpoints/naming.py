"""From what a user calls a model to what a run can be repeated with: family, weights, commit."""

from __future__ import annotations

import logging

from pipeline.checkpoints import adapters, cards, hub
from pipeline.checkpoints.detection import family_of
from pipeline.checkpoints.locating import locate
from pipeline.config import ModelConfig
from pipeline.errors import ConfigurationError

logger = logging.getLogger("pipeline")


def settled(model: ModelConfig) -> ModelConfig:
    """A model section with its family, and with the commit of weights that lie on a hub.

    Called once, when a run is planned or a model is loaded: what it gives stands in ``run.json``
    and is used from there, whatever a branch has become in the meantime. A section that was settled
    before comes back as it is.

    Raises:
        ConfigurationError: ``model.name`` is neither a card nor a place, an adapter has nothing
            to be merged into, or a key says something of weights or an adapter that there are not.
        NotFoundError: there is no checkpoint, or no such revision.
        ModelError: nothing in the checkpoint says which family runs it, or an adapter belongs to
            another base.
    """
    asked = model
    model = _used(asked, cards.resolve(asked))
    if model.weights is None:
        if model.adapter is not None:
            raise ConfigurationError(
                f"model.adapter: '{model.adapter}' needs weights to be merged into; set "
                "model.weights to its base"
            )
        return model
    if model.adapter is None:
        model = adapters.with_base(model)
    weights = str(model.weights)
    if hub.is_hub_id(weights) and not hub.is_commit(model.revision):
        commit = hub.commit_of(weights, model.revision)
        model = model.model_copy(update={"revision": commit})
    if model.adapter is not None:
        chosen = weights in (asked.weights, asked.name)
        model = adapters.settled_adapter(model, chosen=chosen)
    if model.family is not None:
        return model
    family, why = family_of(locate(weights, model.revision))
    logger.info("model.family: %s, by %s", family, why)
    return model.model_copy(update={"family": family})


def _used(asked: ModelConfig, model: ModelConfig) -> ModelConfig:
    """The section without revisions of a card that do not hold where the files really are.

    Args:
        asked: as the job has it.
        model: the same, filled from its card.

    Raises:
        ConfigurationError: the job itself says something of weights or an adapter that would not
            be looked at.
    """
    if model.weights is None:
        for key in ("revision", "sha256", "digest"):
            if getattr(model, key) is not None:
                raise ConfigurationError(f"model.{key}: this model has no weights; leave it out")
    if model.adapter is None and model.adapter_revision is not None:
        raise ConfigurationError(
            "model.adapter_revision: there is no model.adapter. The revision of an adapter that "
            "model.name or model.weights names is model.revision"
        )
    if model.adapter is not None:
        hub.refuse_revision(asked.adapter_revision, model.adapter, setting="model.adapter_revision")
    elif model.weights is not None:
        # Beside an adapter it is what the adapter's base is compared with, wherever that lies.
        hub.refuse_revision(asked.revision, model.weights, setting="model.revision")
    keys = {"revision": model.weights, "adapter_revision": model.adapter}
    unheld = [
        key
        for key, place in keys.items()
        if getattr(asked, key) is None and place is not None and not hub.is_hub_id(place)
    ]
    return model.model_copy(update=dict.fromkeys(unheld))
