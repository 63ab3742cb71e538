"""What goes wrong with one image rejects its own candidate, never the job."""

from __future__ import annotations


class ImageError(Exception):
    """One image cannot be used.

    Attributes:
        code: reason code: image_fetch, image_decode or image_limit.
        detail: a sentence; names the setting where one would allow it.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
