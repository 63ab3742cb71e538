"""Small sealed JSON files that can be made again: a damaged one counts as one that is not there."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.storage.seals import NotWholeError, unsealed_json
from pipeline.storage.store import delete, read_versioned

logger = logging.getLogger("pipeline")


def read_or_remove(path: str, *, most_bytes: int) -> dict[str, Any] | None:
    """The content of a sealed file; None where there is none, or a damaged one, which is removed.

    Args:
        path: of the file.
        most_bytes: that it may have.
    """
    found = read_versioned(path, most_bytes=most_bytes)
    if found is None:
        return None
    try:
        return unsealed_json(found[0])
    except NotWholeError as error:
        logger.warning("%s is damaged (%s) and is made anew", path, error)
        delete(path)
        return None
