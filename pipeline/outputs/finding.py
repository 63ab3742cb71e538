"""Finding a sink by the name of its file; there is no registry to edit."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Final

import pipeline.outputs
from pipeline.config.output import PARQUET
from pipeline.config.reading.loading import nearest
from pipeline.errors import ConfigurationError
from pipeline.outputs.base import Sink
from pipeline.plugins import file_names, only_class

#: Files of the folder that are no sinks.
_OTHERS: Final = frozenset({"added_columns", "finding", "ranked_unit", "sealed"})


def names() -> list[str]:
    """Every format: the files of ``pipeline/outputs``."""
    return file_names(pipeline.outputs, others=_OTHERS)


def find(name: str, *, setting: str = "output.formats") -> Sink:
    """The sink of a format.

    Args:
        name: of the format.
        setting: where the name was given, for errors.

    Raises:
        ConfigurationError: there is no such file, or it does not define exactly one sink.
    """
    if name not in names():
        raise ConfigurationError(f"{setting}: unknown format '{name}'; {nearest(name, names())}")
    module = importlib.import_module(f"pipeline.outputs.{name}")
    kind: type[Sink] = only_class(module, Sink, setting=setting, called="sink")
    return kind()


def find_all(formats: Iterable[str]) -> dict[str, Sink]:
    """The sinks of ``output.formats`` by name, but for Parquet, which every run has anyway.

    Raises:
        ConfigurationError: see :func:`find`.
    """
    return {name: find(name) for name in formats if name != PARQUET}
