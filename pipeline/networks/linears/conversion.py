"""Which linear layers of a loaded network are computed in another way, and in which.

A network is built and filled in one dtype, by whatever family. Its linear layers then take the form
that suits the device: oneDNN's layout on CPUs, or integers or 8-bit floats where the engine asks
for them. Everything else of the network stays in the dtype that it was loaded in.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

#: What linear layers are quantised to; None leaves them in the dtype of their network.
Products = Literal["int8", "float8"] | None

#: Fewer outputs than this are a score or two, which heads compute: they are never quantised.
_FEWEST_OUTPUTS: Final = 16


@dataclass(kw_only=True)
class Conversion:
    """What becomes of the linear layers of networks that are loaded.

    Attributes:
        products: how they are computed.
        quantised: how many were quantised so far.
    """

    products: Products
    quantised: int = 0


_AS_LOADED: Final = Conversion(products=None)
_current: ContextVar[Conversion] = ContextVar("conversion", default=_AS_LOADED)


@contextmanager
def products_in(products: Products) -> Iterator[Conversion]:
    """Networks that are loaded while the body runs compute their linear layers in this way."""
    conversion = Conversion(products=products)
    token = _current.set(conversion)
    try:
        yield conversion
    finally:
        _current.reset(token)


def convert_linears(network: nn.Module, device: torch.device) -> None:
    """Give the linear layers of a loaded network the form that was asked for, in place.

    Args:
        network: on ``device``, with its weights.
        device: where it will compute.
    """
    conversion = _current.get()
    if conversion.products == "int8":
        from pipeline.networks.linears.int8 import quantise_linears

        conversion.quantised += quantise_linears(network)
    if conversion.products == "float8":
        from pipeline.networks.linears.float8 import quantise_linears as quantise_to_float8

        conversion.quantised += quantise_to_float8(network)
    if device.type == "cpu":
        from pipeline.networks.linears.cpu import block_linears

        block_linears(network)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A linear layer that may be replaced.

    Attributes:
        parent: the module that holds it.
        name: under which.
        linear: the layer; where ``gelu``, the first half of a feed-forward layer of BERT.
        gelu: whether :attr:`parent`'s child is that half, whose exact GELU goes with the layer.
        head: whether it is within a module whose input is upcast, which stays in float32.
    """

    parent: nn.Module
    name: str
    linear: nn.Linear
    gelu: bool
    head: bool

    def replace(self, module: nn.Module) -> None:
        """Put another module where the layer is."""
        setattr(self.parent, self.name, module)


def places(network: nn.Module) -> list[Place]:
    """The linear layers of a network that may be replaced.

    Left alone are those whose weight is also another module's (output layers tied to embeddings)
    and those with hooks (heads that upcast their input).
    """
    from torch import nn

    owners: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1

    def may_be_replaced(child: object) -> bool:
        return type(child) is nn.Linear and owners[id(child.weight)] == 1 and not _has_hooks(child)

    found: list[Place] = []

    def walk(parent: nn.Module, head: bool) -> None:
        head = head or _has_hooks(parent)
        for name, child in list(parent.named_children()):
            gelu = _is_gelu_of_linear(child)
            linear = child.dense if gelu else child
            if may_be_replaced(linear):
                assert isinstance(linear, nn.Linear)
                found.append(Place(parent=parent, name=name, linear=linear, gelu=gelu, head=head))
            else:
                walk(child, head)

    walk(network, False)
    return found


def quantisable(place: Place, *, multiple_of: int) -> bool:
    """Whether a layer is large enough to be quantised, of suitable sizes, and not in a head."""
    rows, columns = place.linear.weight.shape
    enough = rows >= _FEWEST_OUTPUTS
    return not place.head and enough and rows % multiple_of == 0 and columns % multiple_of == 0


Quantised = tuple["torch.Tensor", "torch.Tensor"]


class Shared:
    """The quantised rows that several layers take, made once for all of them.

    Queries, keys and values are products of the same rows. The rows of the last call are known by
    being the same object, and are let go with it; nothing may write into them in between.
    """

    def __init__(self, quantise: Callable[[torch.Tensor], Quantised]) -> None:
        self._quantise = quantise
        self._rows: weakref.ref[torch.Tensor] | None = None
        self._quantised: Quantised | None = None

    def __call__(self, rows: torch.Tensor) -> Quantised:
        """What the function gives for these rows."""
        if self._rows is None or self._rows() is not rows or self._quantised is None:
            self._quantised = self._quantise(rows)
            self._rows = weakref.ref(rows, self._forget)
        return self._quantised

    def _forget(self, gone: weakref.ref[torch.Tensor]) -> None:
        if self._rows is gone:
            self._rows = self._quantised = None


def quantise(
    network: nn.Module,
    layer: Callable[..., nn.Module],
    quantise_rows: Callable[[torch.Tensor], Quantised],
    *,
    multiple_of: int,
) -> int:
    """Replace the linear layers of a network in place; returns how many there were.

    Args:
        network: with its weights, where it will compute.
        layer: makes one of a linear layer, ``gelu`` and ``quantise`` (:class:`Shared`).
        quantise_rows: of what goes into it.
        multiple_of: what both sizes of a weight must be multiples of; others stay as they are.
    """
    found = [place for place in places(network) if quantisable(place, multiple_of=multiple_of)]
    for together in by_rows(found):
        shared = Shared(quantise_rows)
        for place in together:
            place.replace(layer(place.linear, gelu=place.gelu, quantise=shared))
    return len(found)


def by_rows(found: list[Place]) -> Iterator[list[Place]]:
    """Layers of one parent that take rows of one size, together: they may take the same rows."""
    groups: dict[tuple[int, int], list[Place]] = {}
    for place in found:
        groups.setdefault((id(place.parent), place.linear.in_features), []).append(place)
    yield from groups.values()


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_pre_hooks or module._forward_hooks)


def _is_gelu_of_linear(module: nn.Module) -> bool:
    """Whether a module is the first half of BERT's feed-forward layer, with the exact GELU."""
    activation = getattr(module, "intermediate_act_fn", None)
    parts = [name for name, _ in module.named_children()]
    return parts == ["dense", "intermediate_act_fn"] and _is_exact_gelu(activation)


def _is_exact_gelu(activation: object) -> bool:
    from torch import nn

    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    theirs = sys.modules.get("transformers.activations")  # imported by what has one
    if theirs is None or not isinstance(activation, theirs.GELUActivation):
        return False
    return activation.act is nn.functional.gelu
