"""Libraries of the ``eval`` extra; none of them is needed, or paid for, to rerank."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pipeline.errors import ConfigurationError


def library(module: str) -> Any:
    """A module of a library.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"evaluation needs {module.split('.')[0]}; install it: "
            "pip install 'rerank-pipeline[eval]'"
        ) from error
