"""Files that come with the product but are not code: the model cards and jobs below ``conf/``."""

from __future__ import annotations

import sysconfig
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigurationError, NotFoundError


def conf_path(relative: str) -> Path:
    """Where ``conf/<relative>`` lies: in the repository checkout, else in the installed copy.

    Args:
        relative: a file or folder below ``conf/``, such as ``models/lexical.yaml``.

    Raises:
        ConfigurationError: the path is absolute or leaves ``conf/``.
        NotFoundError: it is in neither place; both are named.
    """
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts:
        raise ConfigurationError(f"conf/{relative}: must be a relative path that stays in conf/")
    places = [folder / parts for folder in _folders()]
    for place in places:
        if place.exists():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise NotFoundError(f"conf/{relative}: not found, neither {looked} exists")


def _folders() -> tuple[Path, Path]:
    checkout = Path(__file__).resolve().parents[1] / "conf"
    installed = Path(sysconfig.get_path("data"), "share", "rerank-pipeline", "conf")
    return checkout, installed
