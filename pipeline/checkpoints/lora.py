"""A checkpoint with a LoRA adapter merged into it while it is read.

``W + (alpha / r) B A`` in float32, for every weight that the adapter names; the result looks like
any other checkpoint. Source: Hu et al., arXiv:2106.09685; layout of the files: PEFT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.values import number, whole_number, yes_or_no
from pipeline.errors import ModelError, NotFoundError
from pipeline.storage.home import expanded

if TYPE_CHECKING:
    import torch

_FACTOR: Final = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")

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
    {"peft_type", "bias", "r", "lora_alpha", "use_rslora", "init_lora_weights"}
)

#: Values of ``init_lora_weights`` by which PEFT changes the base's weights as well.
_CHANGE_THE_BASE: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class AdaptedCheckpoint(Checkpoint):
    """A base checkpoint and the folder of an adapter to it."""

    adapter: Path

    @classmethod
    def of(cls, base: Checkpoint, adapter: str) -> AdaptedCheckpoint:
        """Join an adapter to a checkpoint.

        Raises:
            NotFoundError: there is no adapter at that place.
        """
        folder = expanded(adapter.removeprefix("file://"), setting="model.settings.adapter")
        if not (folder / "adapter_config.json").is_file():
            raise NotFoundError(
                f"model.settings.adapter: no adapter_config.json in '{adapter}'; expected the "
                "local folder of a LoRA adapter, such as `hf download --local-dir` makes"
            )
        return cls(
            base.folder,
            folder.resolve(),
            expected=base.expected,
            hashed=base.hashed,
            copy=base.copy,
        )

    @cached_property
    def files(self) -> dict[str, str]:
        """Hex sha256 of the base's files and of the adapter's, the latter under a prefix."""
        own = self._adapter_files.files
        return {**super().files, **{f"{_PREFIX}{name}": digest for name, digest in own.items()}}

    @cached_property
    def _adapter_files(self) -> Checkpoint:
        if self.expected is None:
            return Checkpoint(self.adapter)
        expected = {
            name.removeprefix(_PREFIX): digest
            for name, digest in self.expected.items()
            if name.startswith(_PREFIX)
        }
        return Checkpoint(self.adapter, expected=expected)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The base's tensors, those that the adapter changes in float32.

        Raises:
            ModelError: the adapter is of another kind, or does not fit the base.
        """
        scale, factors = self._factors()
        for name, tensor in super().tensors():
            pair = factors.pop(_module(name.removesuffix(".weight")), None)
            yield name, tensor if pair is None else self._merged(name, tensor, pair, scale)
        if factors:
            raise ModelError(
                f"{self.adapter}: the adapter changes '{next(iter(factors))}', which is not in "
                f"{self.folder}; it belongs to another base (see adapter_config.json)"
            )

    def _merged(
        self, name: str, tensor: torch.Tensor, pair: dict[str, torch.Tensor], scale: float
    ) -> torch.Tensor:
        down, up = pair["A"].float(), pair["B"].float()
        if (up.shape[0], down.shape[1]) != tuple(tensor.shape) or up.shape[1] != down.shape[0]:
            raise ModelError(
                f"{self.adapter}: lora_B {list(up.shape)} times lora_A {list(down.shape)} does not "
                f"fit tensor '{name}' of shape {list(tensor.shape)}"
            )
        return tensor.float() + scale * (up @ down)

    def _factors(self) -> tuple[float, dict[str, dict[str, torch.Tensor]]]:
        """Scale, and A and B by the module that they change."""
        files = self._adapter_files
        config = files.table("adapter_config.json", required=True)
        rank, scale = self._scale(config)
        factors: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in files.tensors():
            match = _FACTOR.match(name)
            if match is None:
                raise ModelError(f"{self.adapter}: tensor '{name}' is neither lora_A nor lora_B")
            if tensor.ndim != 2 or tensor.shape[0 if match["side"] == "A" else 1] != rank:
                raise ModelError(
                    f"{self.adapter}: tensor '{name}' has shape {list(tensor.shape)}, but "
                    f"adapter_config.json says r = {rank}"
                )
            pair = factors.setdefault(_module(match["module"]), {})
            if match["side"] in pair:
                raise ModelError(
                    f"{self.adapter}: two tensors are lora_{match['side']} of "
                    f"'{_module(match['module'])}', one of them '{name}'"
                )
            pair[match["side"]] = tensor
        for module, pair in factors.items():
            if len(pair) != 2:
                missing = "B" if "A" in pair else "A"
                raise ModelError(f"{self.adapter}: missing tensor 'lora_{missing}' of '{module}'")
        return scale, factors

    def _scale(self, config: dict[str, Any]) -> tuple[int, float]:
        where = self.adapter / "adapter_config.json"
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
        return rank, alpha / (math.sqrt(rank) if by_root else rank)


def _module(name: str) -> str:
    """A module's name without what depends on the version that wrote it.

    PEFT puts ``base_model.model.`` before names, and transformers 5 has ``language_model`` where
    published files have nothing.
    """
    return ".".join(
        part for part in name.split(".") if part not in ("base_model", "model", "language_model")
    )
