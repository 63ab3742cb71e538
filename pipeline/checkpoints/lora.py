"""A checkpoint with a LoRA adapter merged into it while it is read.

``W + (alpha / r) B A`` in float32, for every weight that the adapter names; the result looks like
any other checkpoint. Source: Hu et al., arXiv:2106.09685; layout of the files: PEFT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.locating import ADAPTER, locate_adapter
from pipeline.checkpoints.values import number, whole_number, yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    import torch

_FACTOR: Final = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")

#: Where PEFT saves an adapter's tensors.
_TENSORS: Final = "adapter_model.safetensors"

#: What stands before names of an adapter's files among those of its base; no file has it.
_PREFIX: Final = "adapter:"

#: Keys of adapter_config.json that leave the sum of products alone, whatever they say: which base
#: and modules it was made for, which the tensors say as well, and how it was trained. Any other key
#: that says something stands for another kind of adapter.
_HARMLESS: Final = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    }
)
_READ: Final = frozenset(
    {
        "peft_type",
        "bias",
        "r",
        "lora_alpha",
        "use_rslora",
        "init_lora_weights",
        "modules_to_save",
    }
)

#: Values of ``init_lora_weights`` by which PEFT changes the base's weights as well.
_CHANGE_THE_BASE: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")


#: A and B by side, by the module that they change.
_Factors: TypeAlias = "dict[str, dict[str, torch.Tensor]]"
#: Name and tensor, by the name without what depends on versions.
_Whole: TypeAlias = "dict[str, tuple[str, torch.Tensor]]"


@dataclass(frozen=True)
class _AdapterFiles(Checkpoint):
    """An adapter's folder; whatever other weights lie there are none of its own."""

    def _weight_names(self) -> list[str]:
        if not (self.folder / _TENSORS).exists():
            raise ModelError(
                f"{self.folder}: no {_TENSORS}; an adapter in a pickle file (adapter_model.bin) "
                "can run code when it is opened and is not read: save it again with PEFT, which "
                "writes safetensors"
            )
        return [_TENSORS]


@dataclass(frozen=True)
class AdaptedCheckpoint(Checkpoint):
    """A base checkpoint and an adapter to it.

    Attributes:
        adapter: the adapter's files.
    """

    adapter: Checkpoint

    @classmethod
    def of(cls, base: Checkpoint, adapter: str, revision: str | None = None) -> AdaptedCheckpoint:
        """Join an adapter to a checkpoint.

        Args:
            base: the checkpoint that it is merged into.
            adapter: a folder, URI or hub id.
            revision: the commit of a hub id.

        Raises:
            NotFoundError: there is no adapter at that place.
            ModelError: a remote adapter is not the planned one.
        """
        planned = None
        if base.expected is not None:
            planned = {
                name.removeprefix(_PREFIX): digest
                for name, digest in base.expected.items()
                if name.startswith(_PREFIX)
            }
        own = locate_adapter(adapter, revision, files=planned)
        return cls(
            base.folder,
            _AdapterFiles(own.folder, expected=planned, hashed=own.hashed, copy=own.copy),
            expected=base.expected,
            hashed=base.hashed,
            copy=base.copy,
        )

    @cached_property
    def files(self) -> dict[str, str]:
        """Hex sha256 of the base's files and of the adapter's, the latter under a prefix."""
        own = self.adapter.files
        return {**super().files, **{f"{_PREFIX}{name}": digest for name, digest in own.items()}}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Sizes of every tensor that :meth:`tensors` gives."""
        base = super().shapes()
        _, _, modules = self._settings()
        return base | {
            _stored_as(name, base): shape
            for name, shape in self.adapter.shapes().items()
            if _is_whole(name, modules)
        }

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The base's tensors, those that the adapter changes in float32.

        Modules that were trained as a whole (``modules_to_save``, such as a new head) come from
        the adapter, also where the base has none.

        Raises:
            ModelError: the adapter is of another kind, or does not fit the base.
        """
        scale, factors, whole = self._factors()
        for name, tensor in super().tensors():
            pair = factors.pop(_module(name.removesuffix(".weight")), None)
            if pair is not None:
                yield name, self._merged(name, tensor, pair, scale)
            else:
                yield name, whole.pop(_module(name), (name, tensor))[1]
        if factors:
            raise ModelError(
                f"{self.adapter.folder}: the adapter changes '{next(iter(factors))}', which is not "
                f"in {self.folder}; it belongs to another base (see adapter_config.json)"
            )
        yield from whole.values()

    def _merged(
        self, name: str, tensor: torch.Tensor, pair: dict[str, torch.Tensor], scale: float
    ) -> torch.Tensor:
        down, up = pair["A"].float(), pair["B"].float()
        if (up.shape[0], down.shape[1]) != tuple(tensor.shape) or up.shape[1] != down.shape[0]:
            raise ModelError(
                f"{self.adapter.folder}: lora_B {list(up.shape)} times lora_A {list(down.shape)} "
                f"does not fit tensor '{name}' of shape {list(tensor.shape)}"
            )
        return tensor.float() + scale * (up @ down)

    def _factors(self) -> tuple[float, _Factors, _Whole]:
        """Scale, A and B by the module that they change, and tensors that replace the base's."""
        rank, scale, modules = self._settings()
        factors: _Factors = {}
        whole: _Whole = {}
        for name, tensor in self.adapter.tensors():
            match = _FACTOR.match(name)
            if match is None:
                if not _is_whole(name, modules):
                    raise ModelError(
                        f"{self.adapter.folder}: tensor '{name}' is neither lora_A nor lora_B, nor "
                        "of a module that modules_to_save names"
                    )
                whole[_module(_own_name(name))] = _own_name(name), tensor
                continue
            if tensor.ndim != 2 or tensor.shape[0 if match["side"] == "A" else 1] != rank:
                raise ModelError(
                    f"{self.adapter.folder}: tensor '{name}' has shape {list(tensor.shape)}, but "
                    f"adapter_config.json says r = {rank}"
                )
            pair = factors.setdefault(_module(match["module"]), {})
            if match["side"] in pair:
                raise ModelError(
                    f"{self.adapter.folder}: two tensors are lora_{match['side']} of "
                    f"'{_module(match['module'])}', one of them '{name}'"
                )
            pair[match["side"]] = tensor
        if modules and not whole:
            raise ModelError(
                f"{self.adapter.folder}: modules_to_save is {list(modules)}, and no tensor is of "
                "one of them; save the adapter again"
            )
        for module, pair in factors.items():
            if len(pair) != 2:
                missing = "B" if "A" in pair else "A"
                raise ModelError(
                    f"{self.adapter.folder}: missing tensor 'lora_{missing}' of '{module}'"
                )
        return scale, factors, whole

    def _settings(self) -> tuple[int, float, tuple[str, ...]]:
        """Rank, scale, and modules that were trained as a whole."""
        config = self.adapter.table(ADAPTER, required=True)
        where = self.adapter.folder / ADAPTER
        unsupported = sorted(name for name in config.keys() - _HARMLESS - _READ if config[name])
        if config.get("bias", "none") != "none":
            unsupported.append("bias")
        start = config.get("init_lora_weights")
        if isinstance(start, str) and start.lower().startswith(_CHANGE_THE_BASE):
            raise ModelError(
                f"{where}: init_lora_weights '{start}' changed the base's weights while the "
                "adapter was trained, so it does not belong to the base as it was published; save "
                "it again as plain LoRA (PEFT's path_initial_model_for_weight_conversion)"
            )
        if config.get("peft_type") != "LORA" or unsupported:
            raise ModelError(
                f"{where}: peft_type {config.get('peft_type')} with "
                f"{', '.join(unsupported) or 'no more'}; only plain LoRA is merged"
            )
        rank = whole_number(config, "r", where=where)
        alpha = number(config, "lora_alpha", where=where)
        by_root = yes_or_no(config, "use_rslora", where=where, default=False)
        saved = config.get("modules_to_save") or []
        if not isinstance(saved, list) or not all(isinstance(name, str) for name in saved):
            raise ModelError(f"{where}: modules_to_save is {saved!r}, expected a list of names")
        return rank, alpha / (math.sqrt(rank) if by_root else rank), tuple(saved)


def _module(name: str) -> str:
    """A module's name without what depends on the version that wrote it.

    PEFT puts ``base_model.model.`` before names, and transformers 5 has ``language_model`` where
    published files have nothing.
    """
    return ".".join(
        part for part in name.split(".") if part not in ("base_model", "model", "language_model")
    )


def _is_whole(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a tensor belongs to a module that was trained as a whole; PEFT compares endings."""
    path = f".{_own_name(name).rpartition('.')[0]}."
    return any(f".{module}." in path for module in modules)


def _own_name(name: str) -> str:
    """A tensor's name as a checkpoint stores it, without PEFT's prefix."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default.", ".")


def _stored_as(name: str, base: Mapping[str, object]) -> str:
    """The base's name for a tensor of the adapter; the adapter's own, where it has none."""
    wanted = _module(_own_name(name))
    return next((one for one in base if _module(one) == wanted), _own_name(name))
