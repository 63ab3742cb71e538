"""Finding a format by the name of its file; there is no registry to edit."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pipeline.distillation.formats
from pipeline.config.loading import nearest, validate
from pipeline.distillation.formats.base import TrainingFormat
from pipeline.errors import ConfigurationError


def names() -> list[str]:
    """Every format: the files of ``pipeline/distillation/formats``."""
    folder = Path(str(pipeline.distillation.formats.__file__)).parent
    files = (path.stem for path in folder.glob("*.py"))
    return sorted(name for name in files if name not in ("__init__", "base"))


def find(name: str) -> type[TrainingFormat]:
    """The class of a format.

    Raises:
        ConfigurationError: there is no such file, or it does not define exactly one format.
    """
    if name not in names():
        raise ConfigurationError(f"exports: unknown format '{name}'; {nearest(name, names())}")
    module = importlib.import_module(f"pipeline.distillation.formats.{name}")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, TrainingFormat)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ConfigurationError(
            f"exports: {name}.py defines {len(classes)} training formats, expected one"
        )
    return classes[0]


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
