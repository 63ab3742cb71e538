"""Finding a format by the name of its file; there is no registry to edit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pipeline.distillation.formats
from pipeline.config.reading.loading import nearest, validate
from pipeline.distillation.formats.base import TrainingFormat
from pipeline.errors import ConfigurationError
from pipeline.plugins import file_names, only_class


def names() -> list[str]:
    """Every format: the files of ``pipeline/distillation/formats``."""
    return file_names(pipeline.distillation.formats)


def find(name: str) -> type[TrainingFormat]:
    """The class of a format.

    Raises:
        ConfigurationError: there is no such file, or it does not define exactly one format.
    """
    if name not in names():
        raise ConfigurationError(f"exports: unknown format '{name}'; {nearest(name, names())}")
    module = importlib.import_module(f"pipeline.distillation.formats.{name}")
    return only_class(module, TrainingFormat, setting="exports", called="training format")


def build(
    name: str, options: Mapping[str, Any], *, rules: Mapping[str, Any] | None = None
) -> TrainingFormat:
    """A format with its options, validated.

    Raises:
        ConfigurationError: an unknown format or option, or a wrong value, named as
            ``exports.FORMAT.KEY``.
    """
    kind = find(name)
    return kind(options=validate(kind.Options, options, prefix=f"exports.{name}"), rules=rules)
