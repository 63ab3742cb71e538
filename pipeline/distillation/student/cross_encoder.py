"""A cross-encoder of transformers' own classes, begun from a checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.checkpoints.locating import locate
from pipeline.config.student import StudentConfig
from pipeline.engine.families import parse_settings
from pipeline.errors import ConfigurationError
from pipeline.rerankers.cross_encoder import CrossEncoder as Family
from pipeline.rerankers.cross_encoder import CrossEncoderSettings


def cross_encoder(config: StudentConfig) -> Any:
    """The student as a sentence-transformers cross-encoder on the CPU; seed torch before.

    Raises:
        ConfigurationError: ``student.layers`` names a layer that the checkpoint has not.
        ModelError: the checkpoint is none of the family.
    """
    from sentence_transformers import CrossEncoder

    checkpoint = locate(str(config.weights), config.revision)
    settings = parse_settings(Family, {"max_length": 512} | config.settings)
    assert isinstance(settings, CrossEncoderSettings)
    limit = Family(checkpoint=checkpoint, settings=settings).limits.max_length
    model = CrossEncoder(
        str(checkpoint.folder),
        max_length=limit,
        device="cpu",
        activation_fn=torch.nn.Identity(),
        local_files_only=True,
    )
    network = model.model
    encoder = getattr(network.base_model, "encoder", None)
    if config.layers is not None:
        layers = getattr(encoder, "layer", ())
        if encoder is None or any(not 0 <= layer < len(layers) for layer in config.layers):
            raise ConfigurationError(
                f"student.layers: {list(config.layers)}; {checkpoint.folder} has layers 0 to "
                f"{len(layers) - 1}"
            )
        encoder.layer = torch.nn.ModuleList([layers[place] for place in config.layers])
        network.config.num_hidden_layers = len(config.layers)
    if config.random_weights:
        network.init_weights()
    return model
