"""Networks of our own whose parameters wait for a checkpoint, made without initial weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import torch
from torch import nn

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

Network = TypeVar("Network", bound=nn.Module)

#: Modules with parameters that our networks are made of.
_WITH_PARAMETERS: Final[tuple[type[nn.Module], ...]] = (nn.Embedding, nn.LayerNorm, nn.Linear)


def build_own(
    network: Callable[[], Network], *, dtype: torch.dtype, checkpoint: Checkpoint
) -> Network:
    """As :func:`pipeline.networks.loading.build`, for networks that need nothing of transformers.

    That one imports transformers' networks, which takes as long as all else of a small model.

    Args:
        network: makes it.
        dtype: of its parameters.
        checkpoint: whose configuration it is made of, for messages.

    Raises:
        ModelError: no network can be made of the checkpoint's configuration.
    """
    from pipeline.networks.network_config import not_a_network

    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with unfilled():
            return network()
    except ModelError:
        raise
    except Exception as error:  # whatever a constructor of torch raises for a value
        kind = str(checkpoint.config.get("model_type"))
        raise not_a_network(checkpoint.folder / "config.json", kind, error) from error
    finally:
        torch.set_default_dtype(previous)


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules that are made while the body runs hold whatever the memory held before.

    On the device ``meta`` they could be made without initial weights, too, but there torch
    initialises through its reference implementations, whose import takes two seconds of a CPU.
    """

    def leave(_: nn.Module) -> None:
        """In place of filling parameters."""

    before = [kind.reset_parameters for kind in _WITH_PARAMETERS]
    for kind in _WITH_PARAMETERS:
        kind.reset_parameters = leave  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        for kind, fill in zip(_WITH_PARAMETERS, before, strict=True):
            kind.reset_parameters = fill  # type: ignore[method-assign]
