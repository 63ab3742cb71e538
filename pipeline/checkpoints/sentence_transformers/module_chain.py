"""The modules of a checkpoint in the layout of sentence-transformers, in order, read as data.

``modules.json`` names them; each has a folder with a ``config.json`` and, where it has weights, a
``model.safetensors``. Classes are known by their names and never imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

MODULES: Final = "modules.json"

#: Packages whose modules are understood; PyLate saves its own Dense beside the library's modules.
_PACKAGES: Final = ("sentence_transformers", "pylate")

#: A module's folder; those with weights are numbered, and only these are hashed and fetched.
_FOLDER: Final = re.compile(r"[\w-]+")
_NUMBERED: Final = re.compile(r"[0-9]+_[\w-]+")

#: Activations without arguments that are understood, by the names of torch's classes.
ACTIVATIONS: Final = ("Identity", "Tanh", "GELU", "ReLU", "SiLU", "Sigmoid")

#: What a module reads and writes where its file does not say (base/modules/dense.py).
TEXT_VECTOR: Final = "sentence_embedding"


@dataclass(frozen=True, kw_only=True)
class Module:
    """One line of ``modules.json``.

    Attributes:
        kind: class name: Transformer, Pooling, Dense, LayerNorm, Normalize, LogitScore, ...
        folder: its own one; "" for the Transformer, whose files are the checkpoint's.
    """

    kind: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A linear layer, its activation and, where ``residual``, its input added to the result.

    Attributes:
        folder: of its files.
        inputs: numbers of a vector that it takes.
        outputs: numbers that it gives.
        bias: whether the linear layer has one.
        activation: torch's class, one of :data:`ACTIVATIONS`.
        residual: whether the input is added, through a matrix where sizes differ.
        reads: feature that it takes.
        writes: feature that it gives.
    """

    folder: str
    inputs: int
    outputs: int
    bias: bool
    activation: str
    residual: bool
    reads: str
    writes: str


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """A layer norm with weight and bias over the text's vector, epsilon 1e-5 as torch has it.

    Attributes:
        folder: of its files.
        width: numbers of a vector.
    """

    folder: str
    width: int


def modules(checkpoint: Checkpoint) -> tuple[Module, ...]:
    """Every module in order; none where there is no ``modules.json``. Classes may repeat.

    Dropout is left out: it does nothing but in training.

    Raises:
        ModelError: a module of other packages, arguments, a folder elsewhere or used twice.
    """
    where = checkpoint.folder / MODULES
    listed = checkpoint.json(MODULES)
    if listed == {}:
        return ()
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise ModelError(f"{where}: expected a list of modules")
    found = tuple(_module(one, where) for one in listed)
    folders = [one.folder for one in found]
    for one in found:
        if folders.count(one.folder) > 1:
            raise ModelError(
                f"{where}: module {one.kind} in '{one.folder}', where another is; expected the "
                "Transformer and every other module once, each in a folder of its own"
            )
    return tuple(one for one in found if one.kind != "Dropout")


def _module(one: Mapping[str, Any], where: Path) -> Module:
    unknown = sorted(set(one) - {"idx", "name", "path", "type", "kwargs"})
    if unknown or one.get("kwargs"):
        key = unknown[0] if unknown else "kwargs"
        raise ModelError(f"{where}: '{key}' of module {one.get('name')!r} is not understood")
    package, _, kind = str(one.get("type")).rpartition(".")
    folder = str(one.get("path", ""))
    if package.partition(".")[0] not in _PACKAGES:
        raise ModelError(
            f"{where}: module '{one.get('type')}' is code of the checkpoint's own or of another "
            "package, which is never run"
        )
    if folder != "" if kind == "Transformer" else not _FOLDER.fullmatch(folder):
        raise ModelError(
            f"{where}: module {kind} in '{folder}'; expected the Transformer in the checkpoint's "
            "folder itself and every other module in a folder beside its files"
        )
    return Module(kind=kind, folder=folder)


def dense(checkpoint: Checkpoint, module: Module, *, reads: str = TEXT_VECTOR) -> Dense:
    """A Dense module as its file describes it.

    Args:
        checkpoint: where it is.
        module: of kind Dense.
        reads: feature that it takes where the file does not say.

    Raises:
        ModelError: a key or an activation that is not understood, a missing size, no weights.
    """
    config, where = _config(checkpoint, module)
    known = {"in_features", "out_features", "bias", "activation_function", "use_residual"}
    _refuse_unknown(config, {*known, "module_input_name", "module_output_name"}, where)
    takes = str(config.get("module_input_name") or reads)
    return Dense(
        folder=module.folder,
        inputs=whole_number(config, "in_features", where=where),
        outputs=whole_number(config, "out_features", where=where),
        bias=yes_or_no(config, "bias", where=where, default=True),
        activation=torch_class(config.get("activation_function", "torch.nn.Tanh"), where),
        residual=yes_or_no(config, "use_residual", where=where, default=False),
        reads=takes,
        writes=str(config.get("module_output_name") or takes),
    )


def layer_norm(checkpoint: Checkpoint, module: Module) -> LayerNorm:
    """A LayerNorm module as its file describes it.

    Raises:
        ModelError: a key that is not understood, a missing size, no weights.
    """
    config, where = _config(checkpoint, module)
    _refuse_unknown(config, {"dimension"}, where)
    width = whole_number(config, "dimension", where=where)
    return LayerNorm(folder=module.folder, width=width)


def layers(
    checkpoint: Checkpoint, chain: Sequence[Module], *, width: int, feature: str = TEXT_VECTOR
) -> tuple[Dense | LayerNorm, ...]:
    """Dense and LayerNorm modules that follow each other, checked to fit each other.

    Args:
        checkpoint: where they are.
        chain: in order.
        width: numbers of the vector that the first one takes.
        feature: name of that vector. Each module reads what the one before it wrote.

    Raises:
        ModelError: another kind of module, sizes or features that do not fit.
    """
    found: list[Dense | LayerNorm] = []
    for module in chain:
        where = checkpoint.folder / module.folder / "config.json"
        if module.kind not in ("Dense", "LayerNorm"):
            raise ModelError(
                f"{checkpoint.folder / MODULES}: module {module.kind} in '{module.folder}'; here "
                "Dense and LayerNorm are understood"
            )
        if module.kind == "Dense":
            layer: Dense | LayerNorm = dense(checkpoint, module, reads=feature)
        else:
            layer = layer_norm(checkpoint, module)
        takes = layer.inputs if isinstance(layer, Dense) else layer.width
        reads = layer.reads if isinstance(layer, Dense) else TEXT_VECTOR
        if (takes, reads) != (width, feature):
            raise ModelError(
                f"{where}: takes {takes} numbers of '{reads}'; what comes before gives {width} of "
                f"'{feature}'"
            )
        if isinstance(layer, Dense):
            width, feature = layer.outputs, layer.writes
        found.append(layer)
    return tuple(found)


def torch_class(name: object, where: object) -> str:
    """The class of torch that an activation's dotted path names; null is Identity.

    Args:
        name: as the file has it.
        where: file, and perhaps key, for messages.

    Raises:
        ModelError: it is none of :data:`ACTIVATIONS`. The library takes its default for what is
            not torch's, which is seldom what a checkpoint was trained with.
    """
    if name is None:
        return "Identity"
    package, _, kind = str(name).rpartition(".")
    if package.partition(".")[0] != "torch" or kind not in ACTIVATIONS:
        raise ModelError(
            f"{where}: activation '{name}' is not understood and never imported; known are "
            f"torch's {', '.join(ACTIVATIONS)}"
        )
    return kind


def _config(checkpoint: Checkpoint, module: Module) -> tuple[dict[str, Any], Path]:
    name = f"{module.folder}/config.json"
    if not _NUMBERED.fullmatch(module.folder):
        raise ModelError(
            f"{checkpoint.folder / MODULES}: module {module.kind} in '{module.folder}'; expected "
            "a numbered folder such as '2_Dense', whose weights are hashed with the checkpoint"
        )
    checkpoint.require_module_weights(module.folder)
    return checkpoint.table(name, required=True), checkpoint.folder / name


def _refuse_unknown(config: Mapping[str, Any], known: set[str], where: Path) -> None:
    unknown = sorted(set(config) - known)
    if unknown:
        raise ModelError(
            f"{where}: key '{unknown[0]}' is not understood and would change scores; known are "
            f"{', '.join(sorted(known))}"
        )
