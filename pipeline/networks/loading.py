"""Weights into networks: every tensor accounted for, heads in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.checkpoints.checkpoint import Checkpoint

#: What layer norms' tensors were called once, and are called.
_OLD_NAMES: Final = {
    "LayerNorm.gamma": "LayerNorm.weight",
    "LayerNorm.beta": "LayerNorm.bias",
}

Network = TypeVar("Network", bound="nn.Module")
Rename = Callable[[str, "torch.Tensor"], Iterable[tuple[str, "torch.Tensor"]]]


def build(
    network: Callable[[], Network], *, dtype: torch.dtype, checkpoint: Checkpoint | None = None
) -> Network:
    """Construct a network in ``dtype`` without spending time on random initial weights.

    Nothing is fetched while it is constructed, whatever its class would like to have. Threads take
    turns.

    Args:
        network: makes it.
        dtype: of its parameters.
        checkpoint: whose configuration it is made of, for messages.

    Raises:
        ModelError: transformers makes no network of the checkpoint's configuration.
    """
    from transformers.initialization import no_init_weights

    from pipeline.networks.unfilled import MAKING

    with MAKING, no_init_weights(), nothing_fetched():
        return _constructed(network, dtype, checkpoint)


def build_own(
    network: Callable[[], Network], *, dtype: torch.dtype, checkpoint: Checkpoint
) -> Network:
    """As :func:`build`, for networks that need nothing of transformers.

    That one imports transformers' networks, which takes longer than all else of a small model.

    Args:
        network: makes it.
        dtype: of its parameters.
        checkpoint: whose configuration it is made of, for messages.

    Raises:
        ModelError: no network can be made of the checkpoint's configuration.
    """
    from pipeline.networks.unfilled import unfilled

    with unfilled():
        return _constructed(network, dtype, checkpoint)


def _constructed(
    network: Callable[[], Network], dtype: torch.dtype, checkpoint: Checkpoint | None
) -> Network:
    import torch

    from pipeline.networks.network_config import not_a_network

    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return network()
    except ModelError:
        raise
    except Exception as error:  # whatever a network's constructor raises for a value
        if checkpoint is None:
            raise
        kind = str(checkpoint.config.get("model_type"))
        where = checkpoint.folder / "config.json"
        raise not_a_network(where, kind, _named(error, checkpoint.config)) from error
    finally:
        torch.set_default_dtype(previous)


def _named(error: Exception, config: Mapping[str, Any]) -> Exception:
    """The error, with the key whose value was looked up in a table that lacks it."""
    if not isinstance(error, KeyError):
        return error
    keys = [key for key, value in config.items() if error.args == (value,)]
    return KeyError(*(f"{key} '{config[key]}'" for key in keys)) if keys else error


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """While the body runs, this process fetches no file and no kernel from a hub.

    Some of transformers' networks ask for kernels by themselves (``mamba``, ``rwkv``), and some
    for backbones by name; both libraries keep their switches as module attributes, which are read
    from the environment at import and would be too late to set there.
    """
    from huggingface_hub import constants
    from transformers.integrations import hub_kernels

    def refuse(name: str, *_: Any, **__: Any) -> Any:
        raise ModelError(
            f"this network asks for the kernel '{name}' of a hub, and code of others is never "
            "fetched; it is not supported"
        )

    switches: list[tuple[Any, str, Any]] = [
        (constants, "HF_HUB_OFFLINE", True),
        (hub_kernels, "_kernels_enabled", False),
        (hub_kernels, "get_kernel_hub", refuse),
    ]
    before = [(where, name, getattr(where, name, None)) for where, name, _ in switches]
    for where, name, value in switches:
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)


def load_weights(
    network: nn.Module,
    checkpoint: Checkpoint,
    *,
    rename: Rename | None = None,
    ignore: Sequence[str] = (),
    optional: Sequence[str] = (),
    heads: Sequence[str] = (),
    converted: bool = True,
    device: torch.device,
) -> None:
    """Copy a checkpoint into a network, in place, then move it to the device for inference.

    Args:
        network: parameters in the compute dtype.
        checkpoint: where the tensors come from; converted from their stored dtype.
        rename: a stored (name, tensor) to the network's (name, tensor) pairs; may split or fuse.
        ignore: patterns of stored names that carry nothing (old buffers).
        optional: patterns of network names that the file may lack (tied weights).
        heads: modules that run in float32; their inputs are upcast.
        converted: whether linear layers may give up their weights for another form, see
            :func:`pipeline.networks.linears.conversion.convert_linears`; else the caller does it.
        device: target.

    Raises:
        ModelError: a tensor is missing, unexpected, of the wrong shape or no fractions; names all
            of them.
    """
    from pipeline.networks.linears.conversion import convert_linears

    for name in heads:
        _in_float32(network.get_submodule(name))
    copy_tensors(
        network, _renamed(checkpoint, rename, ignore), where=checkpoint.folder, optional=optional
    )
    network.to(device)
    network.eval()
    network.requires_grad_(False)
    if converted:
        convert_linears(network, device)


def copy_tensors(
    network: nn.Module,
    tensors: Iterable[tuple[str, torch.Tensor]],
    *,
    where: Path,
    optional: Sequence[str] = (),
) -> None:
    """Copy tensors into the parameters and buffers of their names, in place.

    Args:
        network: what is filled.
        tensors: by the network's names.
        where: the folder that they come from, for messages.
        optional: patterns of names that may be missing.

    Raises:
        ModelError: a tensor is missing, unexpected, of the wrong shape or no fractions; names all
            of them.
    """
    import torch

    state = network.state_dict()
    missing, problems = set(state), []
    with torch.no_grad():
        for name, tensor in tensors:
            if name not in state:
                problems.append(f"unexpected tensor '{name}'")
            elif state[name].is_floating_point() != tensor.is_floating_point():
                problems.append(
                    f"tensor '{name}' holds {str(tensor.dtype).removeprefix('torch.')}, "
                    f"expected {str(state[name].dtype).removeprefix('torch.')}"
                )
            elif state[name].shape != tensor.shape:
                problems.append(
                    f"tensor '{name}' has shape {list(tensor.shape)}, "
                    f"expected {list(state[name].shape)}"
                )
            else:
                state[name].copy_(tensor)
            missing.discard(name)
    # A table that a network has under two names may be stored under either.
    filled = {state[name].data_ptr() for name in state.keys() - missing}
    absent = sorted(
        name
        for name in missing
        if not _matches(name, optional) and state[name].data_ptr() not in filled
    )
    problems += [f"missing tensor '{name}'" for name in absent]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; {len(problems) - 8} more" if problems[8:] else "")
        raise ModelError(
            f"{where}: {shown}. The file does not fit the family that was asked for, "
            "or is damaged: check model.family, or fetch the checkpoint again"
        )


def _renamed(
    checkpoint: Checkpoint, rename: Rename | None, ignore: Sequence[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    for stored, tensor in checkpoint.tensors():
        name = _named_today(stored)
        if _matches(name, ignore):
            continue
        if rename is None:
            yield name, tensor
        else:
            yield from rename(name, tensor)


def _named_today(name: str) -> str:
    """Names of BERT's first files, which transformers reads as well (``LayerNorm.gamma``)."""
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _in_float32(module: nn.Module) -> None:
    """Run one module in float32 inside a network of lower precision."""
    import torch

    def upcast(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args
        )

    module.float()
    module.register_forward_pre_hook(upcast)
