"""Libraries of the package's extras: imported where they are used, named where they are missing.

None of them is needed, or paid for, to rerank.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pipeline.errors import ConfigurationError


def library(module: str, *, extra: str, needed_by: str) -> Any:
    """A module of a library that an extra installs.

    Args:
        module: its dotted name.
        extra: the extra of this package, see ``pyproject.toml``.
        needed_by: what cannot be done without it, for the message.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_error([module.split(".")[0]], extra=extra, needed_by=needed_by) from error


def missing_error(names: Sequence[str], *, extra: str, needed_by: str) -> ConfigurationError:
    """The refusal of what needs libraries that are not installed."""
    return ConfigurationError(
        f"{needed_by} needs {', '.join(names)}; install it: pip install 'rerank-pipeline[{extra}]'"
    )
