"""Finding a family by the name of its file; there is no registry to edit.

A family may also be a module of the user's own, by its dotted path. Importing it runs it, and a
configuration may come from anybody (a run's folder holds one), so it needs a word of the user's for
exactly that module, given with each command and written down nowhere.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import create_model

import pipeline.rerankers
from pipeline.checkpoints import cards
from pipeline.config import JobConfig, ModelConfig, Settings
from pipeline.config.reading.loading import nearest, validate
from pipeline.errors import ConfigurationError
from pipeline.plugins import file_names, only_class
from pipeline.rerankers.base import Reranker

#: Modules that may be imported, in the environment, with commas between them.
ALLOW_CODE: Final = "RERANK_ALLOW_CODE"

_PACKAGE: Final = "pipeline.rerankers"
_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def names() -> list[str]:
    """Every family that is a file of this package."""
    return file_names(pipeline.rerankers)


def allowed_code(options: Iterable[str], environment: Mapping[str, str]) -> frozenset[str]:
    """The modules that a user allows a job to import.

    Args:
        options: values of ``--allow-code``.
        environment: of the command; ``RERANK_ALLOW_CODE`` is read.

    Raises:
        ConfigurationError: one of them is no name of a module.
    """
    given = [("--allow-code", option) for option in options]
    given += [(ALLOW_CODE, name) for name in environment.get(ALLOW_CODE, "").split(",") if name]
    for source, name in given:
        if not _MODULE.fullmatch(name.strip()):
            raise ConfigurationError(
                f"{source}: '{name}' is no name of a module; give its dotted path, such as "
                "my_rerankers.lengths"
            )
    return frozenset(name.strip() for _, name in given)


def module_of(family: str, allow_code: Collection[str] = ()) -> str:
    """The module that a family's name stands for, which is not imported.

    Args:
        family: a file name in ``pipeline/rerankers``, or the dotted path of a module of yours.
        allow_code: modules that the user allows to be imported.

    Raises:
        ConfigurationError: no such family, no name of a module, or one that is not allowed.
    """
    if not _MODULE.fullmatch(family):
        raise ConfigurationError(
            f"model.family: '{family}' is neither one of {', '.join(names())} nor the dotted path "
            "of a module, such as my_rerankers.lengths"
        )
    if "." not in family:
        if family not in names():
            raise ConfigurationError(
                f"model.family: unknown family '{family}'; {nearest(family, names())}"
            )
        return f"{_PACKAGE}.{family}"
    ours = family.startswith(f"{_PACKAGE}.") and family.rpartition(".")[2] in names()
    if not (family in allow_code or (ours and family.count(".") == _PACKAGE.count(".") + 1)):
        raise ConfigurationError(
            f"model.family: '{family}' is code of its own, which a configuration alone never runs. "
            f"If you trust it, add --allow-code {family} to the command, or set "
            f"{ALLOW_CODE}={family}"
        )
    return family


def find(family: str, *, allow_code: Collection[str] = ()) -> type[Reranker]:
    """The class of a family.

    Args:
        family: a file name in ``pipeline/rerankers``, or the dotted path of a module of yours.
        allow_code: modules that the user allows to be imported.

    Raises:
        ConfigurationError: no such module, it is not allowed, it fails when it is imported, or it
            does not define exactly one reranker.
    """
    path = module_of(family, allow_code)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"model.family: no module '{path}' ({error}); give the dotted path "
            "of an importable file"
        ) from None
    except Exception as error:  # whatever the module does when it is imported
        raise ConfigurationError(
            f"model.family: module '{path}' cannot be imported ({type(error).__name__}: {error})"
        ) from error
    return only_class(module, Reranker, setting="model.family", called="reranker")


def with_settings(
    data: Mapping[str, Any], kind: type[JobConfig] = JobConfig
) -> type[JobConfig] | None:
    """A job's model with the type of ``model.settings`` that goes with its family.

    Args:
        data: the job as plain data, not validated.
        kind: of job.

    Returns:
        None where the family is not one of this package, or not known: what is wrong is said when
        the job is validated, and no module of somebody else is imported to read a configuration.
    """
    model = data.get("model")
    family = model.get("family") if isinstance(model, Mapping) else None
    if family is None and isinstance(model, Mapping):
        card = cards.card_of(model.get("name"))
        family = None if card is None else card.family
    if family not in names():
        return None
    settings: Any = find(str(family)).Settings
    section: Any = create_model("ModelConfig", __base__=ModelConfig, settings=(settings, ...))
    job: type[JobConfig] = create_model(kind.__name__, __base__=kind, model=(section, ...))
    return job


def parse_settings(family: type[Reranker], settings: dict[str, Any]) -> Settings:
    """Validate ``model.settings`` for a family.

    Raises:
        ConfigurationError: an unknown key or a wrong value, named as ``model.settings.KEY``.
    """
    return validate(family.Settings, settings, prefix="model.settings")
