"""What settings of families that read images have in common: keys that they had once."""

from __future__ import annotations

from typing import Any, Final

from pydantic import model_validator

from pipeline.config import Settings

#: Where a job says now what families were told before.
_MOVED: Final = {
    "image_base": "base",
    "images_allow_https": "https_hosts",
    "image_max_bytes": "max_bytes",
    "image_max_source_pixels": "max_pixels",
}


class ImageSettings(Settings):
    """Settings of families that read images."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key in _MOVED:
                name = _MOVED[key]
                raise ValueError(
                    f"'{key}' is now the job's input.images.{name}, whatever the model; from "
                    f"Python load(..., images={{'{name}': ...}})"
                )
            if key == "image_formats":
                raise ValueError(
                    "'image_formats' is no setting any more: JPEG, PNG and WEBP are read"
                )
        return data
