"""From what a user calls a model to what a run can be repeated with: family, weights, commit."""

from __future__ import annotations

import logging

from pipeline.checkpoints import cards, hub
from pipeline.checkpoints.detection import family_of
from pipeline.checkpoints.locating import locate
from pipeline.config import ModelConfig

logger = logging.getLogger("pipeline")


def settled(model: ModelConfig) -> ModelConfig:
    """A model section with its family, and with the commit of weights that lie on a hub.

    Called once, when a run is planned or a model is loaded: what it gives stands in ``run.json``
    and is used from there, whatever a branch has become in the meantime. A section that was settled
    before comes back as it is.

    Raises:
        ConfigurationError: ``model.name`` is neither a card nor a place.
        NotFoundError: there is no checkpoint, or no such revision.
        ModelError: nothing in the checkpoint says which family runs it.
    """
    model = cards.resolve(model)
    if model.weights is None:
        return model
    if hub.is_hub_id(model.weights) and not hub.is_commit(model.revision):
        commit = hub.commit_of(model.weights, model.revision)
        model = model.model_copy(update={"revision": commit})
    if model.family is not None:
        return model
    family, why = family_of(locate(str(model.weights), model.revision))
    logger.info("model.family: %s, by %s", family, why)
    return model.model_copy(update={"family": family})
