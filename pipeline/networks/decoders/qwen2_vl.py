"""Qwen2-VL and Qwen3-VL with a head at one token and images placed by construction.

The vision tower is transformers', and so is the language model where sequences are padded; the
steps around the two are written here, because transformers' models find images by searching for
their token's id. Qwen3-VL's tower has more to say of an image than its tokens: features that are
added to them between the first layers of the language model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from pipeline.errors import ModelError
from pipeline.networks.attention.flat import attend
from pipeline.networks.attention.plan import Plan, Segments
from pipeline.networks.decoders.packed_decoder import Deep, PackedDecoder
from pipeline.networks.decoders.shape import DecoderShape
from pipeline.networks.packed import pack
from pipeline.networks.padding import pad
from pipeline.networks.pointwise import rotate_heads
from pipeline.prompts.image_places import place_images

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.prompts.image_places import Placement
    from pipeline.prompts.qwen2_vl import Layout
    from pipeline.sequences.arrays import Floats, Int64s
    from pipeline.sequences.batch import Batch

#: Patches that go through the vision tower together; attention stays within an image, so this
#: bounds memory and changes nothing else.
_PATCHES: Final = 2**17


class PatchMatmul(nn.Module):
    """The patch convolution as the matrix product that it is: its stride is its kernel's size.

    An image is a film of one frame that is shown twice, so patches come without a time axis.
    """

    def __init__(self, proj: nn.Conv3d) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """[P, 3, patch * patch] to [P, vision width]."""
        kernel = self.proj.weight
        twice = patches.to(kernel.dtype)[:, :, None].expand(-1, -1, kernel.shape[2], -1)
        return functional.linear(twice.flatten(1), kernel.flatten(1), self.proj.bias)


class ImageAttention(nn.Module):
    """Attention within each image, of all images of a batch at once.

    The module that it runs splits the batch by image in every layer, and waits for the device to
    learn where.
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention: Any = attention

    def forward(
        self,
        hidden: torch.Tensor,
        *_: Any,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        plan: Plan,
        **__: Any,
    ) -> torch.Tensor:
        """[P, vision width]."""
        inner, count = self.attention, self.attention.num_heads
        heads = inner.qkv(hidden).unflatten(-1, (3 * count, -1))
        # Both halves of a head turn by the same angles, so the tables repeat themselves.
        cos, sin = (table.chunk(2, dim=-1)[0] for table in position_embeddings)
        query, key = rotate_heads(heads[:, : 2 * count], cos, sin).chunk(2, dim=1)
        mixed = attend(query, key, heads[:, 2 * count :], plan, scale=inner.scaling)
        projected: torch.Tensor = inner.proj(mixed.flatten(1))
        return projected


def packed_towers(config: Any, *, kind: str, where: Path, dtype: torch.dtype) -> nn.Module:
    """Both towers of a packed network, under the names that they have in transformers' models.

    Args:
        config: of transformers' Qwen2-VL or Qwen3-VL.
        kind: ``model_type``: qwen2_vl or qwen3_vl.
        where: config.json, for messages.
        dtype: of the language model.

    Raises:
        ModelError: the configuration describes no language model that runs packed.
    """
    shape = DecoderShape.of(config.text_config, kind=kind, where=where)
    deep = len(getattr(config.vision_config, "deepstack_visual_indexes", ()))
    if deep >= len(shape.windows):
        raise ModelError(
            f"{where}: deepstack_visual_indexes has {deep} layers, expected fewer than the text's "
            f"num_hidden_layers {len(shape.windows)}; engine.packing: padded runs it"
        )
    vision = {"qwen2_vl": Qwen2VisionTransformerPretrainedModel, "qwen3_vl": Qwen3VLVisionModel}
    return nn.ModuleDict(
        {
            "visual": vision[kind](config.vision_config),
            "language_model": PackedDecoder(shape, dtype=dtype),
        }
    )


class QwenVLReranker(nn.Module):
    """A vision tower, a language model and a head at each readout.

    Args:
        towers: of :func:`packed_towers`, or transformers' ``Qwen2VLModel`` or ``Qwen3VLModel``.
        head: float32 [r, hidden] to readouts.
        levels: float32 [3, 256], what each colour level is to the network.
        layout: of the checkpoint.
        packed: whether the towers take sequences without padding; see :meth:`pack`.
    """

    levels: torch.Tensor

    def __init__(
        self,
        towers: Any,
        *,
        head: nn.Module,
        levels: Floats,
        layout: Layout,
        packed: bool,
    ) -> None:
        super().__init__()
        self.model = towers
        visual = self.model.visual
        visual.patch_embed = PatchMatmul(visual.patch_embed.proj)
        self.score = head
        self.layout = layout
        self.register_buffer("levels", torch.from_numpy(levels), persistent=False)
        self.packed = packed

    def pack(self) -> None:
        """Let the vision tower take images side by side, once its weights are in place."""
        for block in self.model.visual.blocks:
            block.attn = ImageAttention(block.attn)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, D]: the head at every readout of the batch."""
        readouts: torch.Tensor = self.score(
            self._packed(batch) if self.packed else self._padded(batch)
        )
        return readouts.float()

    def _packed(self, batch: Batch) -> torch.Tensor:
        """[r, hidden]: the last layer at every readout, of sequences side by side."""
        packed = pack(batch, causal=True)
        placement = place_images(batch, self.layout)
        states = self.model.language_model.embed_tokens(packed.input_ids[0])
        deep = self._insert(states, batch, placement, placement.targets)
        positions = self._put(placement.positions)
        hidden: torch.Tensor = self.model.language_model(
            states, positions, packed.plan, packed.reading, deep
        )
        return hidden

    def _padded(self, batch: Batch) -> torch.Tensor:
        """[r, hidden], of a matrix; padding stands on the right, where attention never looks."""
        padded = pad(batch, 0)
        placement = place_images(batch, self.layout)
        states = self.model.language_model.embed_tokens(padded.input_ids)
        inside = np.flatnonzero(np.arange(states.shape[1]) < batch.lengths[:, None])
        deep = self._insert(states, batch, placement, inside[placement.targets])
        positions = np.zeros((3, states.shape[0] * states.shape[1]), dtype=np.int64)
        positions[:, inside] = placement.positions
        hidden = self.model.language_model(
            inputs_embeds=states,
            position_ids=self._put(positions).view(3, *states.shape[:2]),
            use_cache=False,
            **_as_transformers(deep, states),
        ).last_hidden_state
        rows: torch.Tensor = hidden[padded.readout_rows, padded.readout_columns]
        return rows

    def _insert(
        self, states: torch.Tensor, batch: Batch, placement: Placement, targets: Int64s
    ) -> Deep | None:
        """Image tokens at ``targets`` of all tokens of ``states`` [..., hidden], in place.

        Returns:
            What is added to them between layers; None where the tower has nothing for that.
        """
        if not len(placement.images):
            return None
        order = np.argsort(targets)  # transformers adds features in the order of the tokens
        sources, places = self._put(placement.sources[order]), self._put(targets[order])
        images = [batch.sequences.images[image] for image in placement.images]
        tokens, *features = (part[sources] for part in self.image_tokens(images))
        states.view(-1, states.shape[-1])[places] = tokens.to(states.dtype)
        return Deep(places=places, features=features) if features else None

    def image_tokens(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[torch.Tensor]:
        """[v, hidden] each: the tokens of images, then the features of each deep layer.

        Args:
            images: uint8 [height, width, 3]; their tokens come one after the other.
        """
        patch = self.layout.patch
        parts: list[list[torch.Tensor]] = []
        for group in groups([image.size // (3 * patch**2) for image in images], _PATCHES):
            chosen = [images[i] for i in group]
            grid = [(1, i.shape[0] // patch, i.shape[1] // patch) for i in chosen]
            thw = self._put(np.array(grid))
            seen = {"plan": _each_alone(grid)} if self.packed else {}
            seen_of_it = self.model.visual(self._patches(chosen), grid_thw=thw, **seen)
            deep = getattr(seen_of_it, "deepstack_features", None) or ()
            parts.append([seen_of_it.pooler_output, *deep])
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def _patches(self, images: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """float32 [P, 3, patch * patch], normalised, in the order of the blocks that are merged."""
        flat = self._put(np.concatenate([image.reshape(-1) for image in images]))
        patch, merge = self.layout.patch, self.layout.merge
        colour = torch.arange(3, device=self.device)[:, None, None]
        patches = []
        parts = torch.split(flat, [image.size for image in images])
        for image, part in zip(images, parts, strict=True):
            height, width, _ = image.shape
            levels = part.view(height, width, 3).permute(2, 0, 1).long()
            rows, columns = height // (patch * merge), width // (patch * merge)
            blocks = self.levels[colour, levels].view(3, rows, merge, patch, columns, merge, patch)
            patches.append(blocks.permute(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, patch**2))
        return torch.cat(patches)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.levels.device

    def _put(self, array: npt.NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor


def _as_transformers(deep: Deep | None, states: torch.Tensor) -> dict[str, Any]:
    """Arguments of ``Qwen3VLTextModel`` for what is added to ``states`` [b, longest, hidden]."""
    if deep is None:
        return {}
    mask = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
    mask.view(-1)[deep.places] = True
    return {"visual_pos_masks": mask, "deepstack_visual_embeds": list(deep.features)}


def _each_alone(grid: list[tuple[int, int, int]]) -> Plan:
    """Patches of an image [1, rows, columns] see all patches of theirs and no others."""
    edges = np.append(0, np.cumsum([rows * columns for _, rows, columns in grid]))
    return Plan(own=Segments(edges, edges))


def groups(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Consecutive places whose sizes add up to ``most`` at most, or one that is larger alone."""
    group: list[int] = []
    total = 0
    for place, size in enumerate(sizes):
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(place)
        total += size
    if group:
        yield group


def stored_name(name: str) -> str:
    """A stored tensor's name as the network's: published files are flat, newer ones nested."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(
        ("model.language_model.", "model.visual.")
    ):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name
