"""Prompts of Qwen2-VL and Qwen3-VL models as flat sequences, images placed by construction.

Where an image stands in a sequence is known from assembling it and is never searched for, so a
literal ``<|image_pad|>`` in a text is an ordinary token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import share_beginnings

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s, Int64s

#: Links [leaves, images of a prompt]: which image, -1 where there is none, and its first token in
#: the whole prompt, shared beginning included.
IMAGE: Final = "image"
PLACE: Final = "place"

#: Link [S]: the document that each sequence scores.
DOCUMENT: Final = "document"

#: Pixels on a patch's side where the file says nothing, by ``model_type``.
_PATCH: Final = {"qwen2_vl": 14, "qwen3_vl": 16}

_REQUIRED: Final = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "vision_config",
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What preparing sequences needs to know of a checkpoint.

    Attributes:
        image_pad: id that stands once per token of an image.
        vision_start: id before an image.
        vision_end: id after an image.
        patch: pixels on a patch's side.
        merge: patches on the side of the block that becomes one token.
    """

    image_pad: int
    vision_start: int
    vision_end: int
    patch: int
    merge: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, kind: str = "qwen2_vl") -> Layout:
        """Read config.json, flat as Qwen2-VL's or nested as transformers 5 writes it.

        Raises:
            ModelError: it is of another ``model_type`` than ``kind``.
        """
        config, where = flat_config(checkpoint, kind), checkpoint.folder / "config.json"
        vision = config["vision_config"]
        return cls(
            image_pad=whole_number(config, "image_token_id", where=where, least=0),
            vision_start=whole_number(config, "vision_start_token_id", where=where, least=0),
            vision_end=whole_number(config, "vision_end_token_id", where=where, least=0),
            patch=whole_number(vision, "patch_size", where=where, default=_PATCH[kind]),
            merge=whole_number(vision, "spatial_merge_size", where=where, default=2),
        )

    @property
    def factor(self) -> int:
        """Pixels on the side of one token."""
        return self.patch * self.merge

    def tokens(self, image: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """Rows and columns of tokens of an image [height, width, 3]."""
        return image.shape[0] // self.factor, image.shape[1] // self.factor

    def ids(self, image: npt.NDArray[np.uint8]) -> Int32s:
        """Start, a pad per token, end."""
        rows, columns = self.tokens(image)
        ids = np.full(rows * columns + 2, self.image_pad, dtype=np.int32)
        ids[0], ids[-1] = self.vision_start, self.vision_end
        return ids


def flat_config(checkpoint: Checkpoint, kind: str = "qwen2_vl") -> dict[str, Any]:
    """config.json with the language model's fields at the top level.

    Raises:
        ModelError: it is of another ``model_type`` than ``kind``, or lacks a field.
    """
    where = checkpoint.folder / "config.json"
    outer, inner = checkpoint.config, checkpoint.config.get("text_config") or {}
    for key, part in (("text_config", inner), ("vision_config", outer.get("vision_config", {}))):
        if not isinstance(part, Mapping):
            raise ModelError(f"{where}: {key} is {part!r}, expected a table of keys")
    config = {**outer, **inner}
    # transformers ties the output to the input where either place says so.
    config["tie_word_embeddings"] = any(
        yes_or_no(part, "tie_word_embeddings", where=where, default=False)
        for part in (outer, inner)
    )
    if checkpoint.config.get("model_type") != kind:
        raise ModelError(f"{where}: model_type '{outer.get('model_type')}', expected '{kind}'")
    absent = [name for name in _REQUIRED if name not in config]
    if absent:
        raise ModelError(f"{where}: no {', '.join(absent)}; is this a Qwen-VL checkpoint?")
    return config


@dataclass
class PromptBuilder:
    """Sequences of ids and images, one per document, read out at their last token.

    Sequences that begin with the same ids and images share their beginning.

    Attributes:
        images: uint8 RGB arrays that sequences may hold.
        documents: documents in all [N].
        kept: ids that are never cut; tokens before and behind them are.
    """

    layout: Layout
    images: Sequence[npt.NDArray[np.uint8]]
    documents: int
    kept: Int64s | None = None
    _ids: list[Int32s] = field(default_factory=list)
    _document: list[int] = field(default_factory=list)
    _image: list[tuple[int, ...]] = field(default_factory=list)
    _place: list[tuple[int, ...]] = field(default_factory=list)
    _truncated: list[int] = field(default_factory=list)
    _opening: list[int] = field(default_factory=list)
    _group: list[int] = field(default_factory=list)
    _groups: dict[tuple[int | bytes, ...], int] = field(default_factory=dict)

    def add(
        self,
        document: int,
        parts: Sequence[Int32s | int],
        *,
        opening: int,
        room: int,
        ending: Int32s,
        truncated: bool,
    ) -> bool:
        """Append a document's sequence; False where an image of it would be cut.

        Args:
            document: its place in the lists.
            parts: ids, or the number of an image.
            opening: how many of the parts other sequences may begin with as well.
            room: tokens that are kept of the parts; the rest is cut on the right.
            ending: ids after what was kept.
            truncated: whether some of the document's text was left out before.
        """
        pieces = [
            self.layout.ids(self.images[part]) if isinstance(part, int) else part for part in parts
        ]
        edges = np.cumsum([0, *map(len, pieces)])
        places = [int(edges[n]) + 1 for n, part in enumerate(parts) if isinstance(part, int)]
        ends = [int(edges[n + 1]) - 1 for n, part in enumerate(parts) if isinstance(part, int)]
        ids, opened, cut = np.concatenate(pieces), int(edges[opening]), int(edges[-1]) > room
        if cut:
            keep = self._kept(ids, room)
            if not all(keep[a - 1 : b].all() for a, b in zip(places, ends, strict=True)):
                return False
            places = [int(keep[:place].sum()) for place in places]
            ids, opened = ids[keep], int(keep[:opened].sum())
        key = (opened, *(p if isinstance(p, int) else p.tobytes() for p in parts[:opening]))
        self._group.append(self._groups.setdefault(key, len(self._groups)))
        self._opening.append(opened)
        self._ids.append(np.concatenate([ids, ending]))
        self._document.append(document)
        self._image.append(tuple(part for part in parts if isinstance(part, int)))
        self._place.append(tuple(places))
        self._truncated.append(int(truncated or cut))
        return True

    def _kept(self, ids: Int32s, room: int) -> npt.NDArray[np.bool_]:
        """Which of the ids stay where there are more than ``room``.

        The first ones; or all that are never cut, and the first of the others in the room that
        is left beside them.
        """
        if self.kept is None:
            return np.arange(len(ids)) < room
        always = np.isin(ids, self.kept)
        kept: npt.NDArray[np.bool_] = always | (np.cumsum(~always) <= room - always.sum())
        return kept

    def build(self, rejected: dict[int, str]) -> Sequences:
        """All sequences; ``rejected`` documents have none."""
        lengths = np.array([len(ids) for ids in self._ids], dtype=np.int64)
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
        document = np.array(self._document, dtype=np.int64)
        spent, cut = np.zeros((2, self.documents), dtype=np.int64)
        spent[document], cut[document] = lengths, self._truncated
        flat = np.concatenate(self._ids) if self._ids else np.zeros(0, dtype=np.int32)
        widest = max((len(images) for images in self._image), default=0)
        sequences = Sequences(
            token_ids=flat.astype(np.int32),
            offsets=offsets,
            readout_positions=(lengths - 1).astype(np.int32),
            readout_offsets=np.arange(len(lengths) + 1, dtype=np.int64),
            links={
                DOCUMENT: document,
                IMAGE: _rectangle(self._image, widest, -1),
                PLACE: _rectangle(self._place, widest, 0),
                schema.N_TOKENS: spent,
                schema.TRUNCATED: cut,
            },
            images=tuple(self.images),
            rejected=tuple(sorted(rejected.items())),
        )
        group = np.array(self._group, dtype=np.int64)
        return share_beginnings(sequences, group, np.array(self._opening, dtype=np.int64))


def _rectangle(rows: Sequence[tuple[int, ...]], width: int, fill: int) -> Int64s:
    filled = [row + (fill,) * (width - len(row)) for row in rows]
    return np.array(filled, dtype=np.int64).reshape(len(rows), width)
