"""From a model section to a loaded engine, in two halves: CPU rules first, the network second."""

from __future__ import annotations

from pipeline.config import EngineConfig, ModelConfig
from pipeline.engine.device import DEFAULT_TOKEN_BUDGET, dtype_name, torch_device, torch_dtype
from pipeline.engine.engine import Engine
from pipeline.errors import ConfigurationError
from pipeline.rerankers.base import Reranker
from pipeline.rerankers.support.checkpoint import locate
from pipeline.rerankers.support.families import find, parse_settings


def build_reranker(config: ModelConfig) -> Reranker:
    """The CPU half of a resolved model section: tokenizer and rules, no network, no torch.

    Raises:
        ConfigurationError: family, settings or weights are not usable together.
        NotFoundError: no checkpoint there.
        ModelError: sha256 differs, or the folder is not what the family needs.
    """
    family = find(str(config.family))
    settings = parse_settings(family, config.settings)
    if not family.needs_weights:
        return family(checkpoint=None, settings=settings)
    if config.weights is None:
        raise ConfigurationError(
            f"model.weights: the family '{config.family}' needs a checkpoint; set it to a folder, "
            "a URI or a hub id"
        )
    checkpoint = locate(config.weights, config.revision)
    if config.sha256 is not None:
        checkpoint.check_sha256(config.sha256)
    return family(checkpoint=checkpoint, settings=settings)


def build_engine(reranker: Reranker, config: EngineConfig, kind: str) -> Engine:
    """Load the network on the device and wrap it in the forward loop.

    Args:
        reranker: from :func:`build_reranker`.
        config: precision and token budget.
        kind: ``cpu`` or ``cuda``.

    Raises:
        ConfigurationError: ``cuda`` is asked for and torch sees no GPU.
        ModelError: a tensor is missing, unexpected or of the wrong shape.
    """
    device = torch_device(kind)
    reranker.load(device=device, dtype=torch_dtype(dtype_name(config.dtype, kind)))
    budget = config.token_budget or DEFAULT_TOKEN_BUDGET[device.type]
    return Engine(reranker, device=device, token_budget=budget)
