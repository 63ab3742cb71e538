"""What a Qwen2-VL checkpoint says is done to an image before the network sees it.

``preprocessor_config.json``, or the part of ``processor_config.json`` that transformers 5 writes in
its place and reads first. A step that is not done here is refused by name, never skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.checkpoints.values import number, whole_number
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.prompts.qwen2_vl import Layout
    from pipeline.sequences.arrays import Floats

_PREPROCESSOR: Final = "preprocessor_config.json"
_PROCESSOR: Final = "processor_config.json"

#: Means and deviations of CLIP's training images, which Qwen2-VL's processor normalises by.
_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)

#: As the published Qwen2-VL checkpoints have them.
_MIN_PIXELS: Final = 3_136
_MAX_PIXELS: Final = 12_845_056

#: Keys of steps that are always done, and the only values that they may have beside null; 3 is
#: Pillow's number of bicubic resampling.
_DONE: Final[Mapping[str, Any]] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 3,
    "temporal_patch_size": 2,
}


@dataclass(frozen=True, kw_only=True)
class ImageProcessing:
    """Sizes and colours.

    Attributes:
        min_pixels: smaller images are enlarged to it.
        max_pixels: larger images are reduced to it.
        scale: factor from a level, 0 to 255, to 0 to 1.
        mean: of each colour.
        deviation: of each colour.
    """

    min_pixels: int
    max_pixels: int
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, layout: Layout) -> ImageProcessing:
        """Of a checkpoint folder; what Qwen2-VL does where it is silent.

        Raises:
            ModelError: it asks for another step, or a value is not what it must be.
        """
        stated, where = _stated(checkpoint)
        for key, value in (
            *_DONE.items(),
            ("patch_size", layout.patch),
            ("merge_size", layout.merge),
        ):
            if stated.get(key) is not None and stated[key] != value:
                raise ModelError(
                    f"{where}: {key} {stated[key]!r}; images are prepared with {value!r}, so the "
                    "scores would differ"
                )
        size = stated.get("size") or {}
        if not isinstance(size, Mapping):
            raise ModelError(f"{where}: size is {size!r}, expected a table of keys")
        sizes = {
            "min_pixels": _first(stated.get("min_pixels"), size, "shortest_edge", "min_pixels"),
            "max_pixels": _first(stated.get("max_pixels"), size, "longest_edge", "max_pixels"),
        }
        given = {key: value for key, value in sizes.items() if value is not None}
        return cls(
            min_pixels=whole_number(given, "min_pixels", where=where, default=_MIN_PIXELS),
            max_pixels=whole_number(given, "max_pixels", where=where, default=_MAX_PIXELS),
            scale=number(stated, "rescale_factor", where=where, default=0.00392156862745098),
            mean=_colours(stated, "image_mean", _MEAN, where),
            deviation=_colours(stated, "image_std", _DEVIATION, where),
        )

    @property
    def levels(self) -> Floats:
        """float32 [3, 256]: what each level of each colour is to the network.

        Exactly ``float32(float64(level) / 255)``, then less the mean and over the deviation in
        float32, as Qwen2-VL's processor does; so pixels travel as uint8 and nothing is rounded
        twice.
        """
        mean = np.array(self.mean, dtype=np.float32)[:, None]
        deviation = np.array(self.deviation, dtype=np.float32)[:, None]
        levels = (np.arange(256, dtype=np.float64) * self.scale).astype(np.float32)
        return np.asarray((levels - mean) / deviation, dtype=np.float32)


def _stated(checkpoint: Checkpoint) -> tuple[Mapping[str, Any], Path]:
    inside = checkpoint.table(_PROCESSOR).get("image_processor")
    where = checkpoint.folder / (_PREPROCESSOR if inside is None else _PROCESSOR)
    stated = checkpoint.table(_PREPROCESSOR) if inside is None else inside
    if not isinstance(stated, Mapping):
        raise ModelError(f"{where}: image_processor is {stated!r}, expected a table of keys")
    return stated, where


def _first(value: Any, size: Mapping[str, Any], *names: str) -> Any:
    """A limit by its own key, else by the names that ``size`` has had for it."""
    found = (size[name] for name in names if size.get(name) is not None)
    return next(found, None) if value is None else value


def _colours(
    stated: Mapping[str, Any], key: str, default: tuple[float, ...], where: Path
) -> tuple[float, ...]:
    values = stated.get(key)
    if values is None:
        return default
    if not isinstance(values, list) or len(values) != len(default):
        raise ModelError(f"{where}: {key} is {values!r}, expected three numbers")
    return tuple(number({key: value}, key, where=where) for value in values)
