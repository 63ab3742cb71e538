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

from pipeline.errors import ModelError, NotFoundError
from pipeline.rerankers.support.checkpoint import Checkpoint
from pipeline.storage.home import expanded

if TYPE_CHECKING:
    import torch

_FACTOR: Final = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")

#: What stands before names of an adapter's files among those of its base; no file has it.
_PREFIX: Final = "adapter:"

#: Kinds of adapter that are not a sum of products, and how their configuration says so.
_UNSUPPORTED: Final = (
    "use_dora",
    "fan_in_fan_out",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "lora_bias",
)


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
        config = files.json("adapter_config.json", required=True)
        rank, scale = self._scale(config)
        factors: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in files.tensors():
            found = _FACTOR.match(name)
            if found is None:
                raise ModelError(f"{self.adapter}: tensor '{name}' is neither lora_A nor lora_B")
            if tensor.shape[0 if found["side"] == "A" else 1] != rank:
                raise ModelError(
                    f"{self.adapter}: tensor '{name}' has shape {list(tensor.shape)}, but "
                    f"adapter_config.json says r = {rank}"
                )
            factors.setdefault(_module(found["module"]), {})[found["side"]] = tensor
        for module, pair in factors.items():
            if len(pair) != 2:
                missing = "B" if "A" in pair else "A"
                raise ModelError(f"{self.adapter}: missing tensor 'lora_{missing}' of '{module}'")
        return scale, factors

    def _scale(self, config: dict[str, Any]) -> tuple[int, float]:
        where = self.adapter / "adapter_config.json"
        found = [name for name in _UNSUPPORTED if config.get(name)]
        if config.get("bias", "none") != "none":
            found.append("bias")
        if config.get("peft_type") != "LORA" or found:
            raise ModelError(
                f"{where}: peft_type {config.get('peft_type')} with {', '.join(found) or 'no more'}"
                "; only plain LoRA is merged"
            )
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _module(name: str) -> str:
    """A module's name without what depends on the version that wrote it.

    PEFT puts ``base_model.model.`` before names, and transformers 5 has ``language_model`` where
    published files have nothing.
    """
    return ".".join(
        part for part in name.split(".") if part not in ("base_model", "model", "language_model")
    )
