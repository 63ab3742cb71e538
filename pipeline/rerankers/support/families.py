"""Finding a family by the name of its file; there is no registry to edit."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import create_model

import pipeline.rerankers
from pipeline.config import JobConfig, ModelConfig, Settings
from pipeline.config.loading import nearest, validate
from pipeline.errors import ConfigurationError
from pipeline.rerankers.base import Reranker
from pipeline.rerankers.support import cards


def names() -> list[str]:
    """Every family that is a file of this package."""
    folder = Path(str(pipeline.rerankers.__file__)).parent
    files = (path.stem for path in folder.glob("*.py"))
    return sorted(name for name in files if name not in ("__init__", "base"))


def find(family: str) -> type[Reranker]:
    """The class of a family.

    Args:
        family: a file name in ``pipeline/rerankers``, or the dotted path of a module of yours.

    Raises:
        ConfigurationError: no such module, or it does not define exactly one reranker.
    """
    path = family if "." in family else f"pipeline.rerankers.{family}"
    if "." not in family and family not in names():
        raise ConfigurationError(
            f"model.family: unknown family '{family}'; {nearest(family, names())}"
        )
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"model.family: no module '{path}' ({error}); give the dotted path "
            "of an importable file"
        ) from None
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Reranker)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        raise ConfigurationError(
            f"model.family: module '{path}' defines {len(classes)} rerankers, expected one"
        )
    return classes[0]


def with_settings(data: Mapping[str, Any]) -> type[JobConfig] | None:
    """``JobConfig`` with the type of ``model.settings`` that goes with a job's family.

    Args:
        data: the job as plain data, not validated.

    Returns:
        None where the family is not one of this package, or not known: what is wrong is said when
        the job is validated, and no module of somebody else is imported to read a configuration.
    """
    model = data.get("model")
    family = model.get("family") if isinstance(model, Mapping) else None
    if family is None and isinstance(model, Mapping) and model.get("name") in cards.names():
        family = cards.read(str(model["name"])).family
    if family not in names():
        return None
    settings: Any = find(str(family)).Settings
    section: Any = create_model("ModelConfig", __base__=ModelConfig, settings=(settings, ...))
    job: type[JobConfig] = create_model("JobConfig", __base__=JobConfig, model=(section, ...))
    return job


def parse_settings(family: type[Reranker], settings: dict[str, Any]) -> Settings:
    """Validate ``model.settings`` for a family.

    Raises:
        ConfigurationError: an unknown key or a wrong value, named as ``model.settings.KEY``.
    """
    return validate(family.Settings, settings, prefix="model.settings")
