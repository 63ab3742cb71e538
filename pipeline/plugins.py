"""Files that are found by their name: a family, a sink and a training format are one file each.

There is no registry to edit; a file that is put into the folder is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigurationError


def file_names(package: ModuleType, *, others: Collection[str] = ()) -> list[str]:
    """Names of the plug-ins in a package, sorted.

    Args:
        package: whose folder holds them.
        others: files of the folder that are no plug-ins, beside ``__init__`` and ``base``.
    """
    folder = Path(str(package.__file__)).parent
    names = {path.stem for path in folder.glob("*.py")}
    return sorted(names - {"__init__", "base", *others})


def only_class(module: ModuleType, kind: type[Any], *, setting: str, called: str) -> type[Any]:
    """The one class of its kind that a module defines itself.

    Args:
        module: the plug-in.
        kind: the base class; it may be abstract.
        setting: where the plug-in was named, for the error.
        called: what such a class is called, in the singular.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, kind)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        raise ConfigurationError(
            f"{setting}: module '{module.__name__}' defines {len(classes)} {called}s, expected one"
        )
    return classes[0]
