"""Keeps the names ``pipeline`` and ``jobs`` of a process for the packages beside this one.

Python takes a package from the first place on its path that has one of that name. The working
folder may stand there before the installed packages: with ``python -m``, with ``PYTHONPATH=.``, in
a job that Ray was sent with a working folder, and in every worker of Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

#: The packages whose names are kept.
OURS: Final = ("pipeline", "jobs")

#: Where they lie: site-packages, or a checkout.
_ROOT: Final = Path(__file__).resolve().parents[1]


class _Finder:
    """Asked before every other finder; it knows our packages and nothing else."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        return PathFinder.find_spec(name, [str(_ROOT)]) if name in OURS else None


def keep_names() -> None:
    """Make this process find our packages by their names from now on; again does nothing more.

    Raises:
        ImportError: another package of such a name has been imported before.
    """
    for name in OURS:
        taken = sys.modules.get(name)
        if taken is not None and not _is_ours(name, taken):
            raise ImportError(
                f"'{name}' of this process is {_place(taken)}, not that of rerank-pipeline in "
                f"{_ROOT}; two packages of one name do not fit into a process, so rerank in one of "
                "its own: the command rerank, or python -m rerank_pipeline"
            )
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def run_module(name: str) -> NoReturn:
    """Run ``jobs.NAME`` as the command line of this process, which ends with its exit code."""
    keep_names()
    ending: ModuleType = import_module("jobs.ending")
    ending.run_module(name)
    raise AssertionError("a command line ends its process")


def _is_ours(name: str, module: ModuleType) -> bool:
    return _place(module) == _ROOT / name


def _place(module: ModuleType) -> Path | str:
    """The folder of a package, or the file of a module."""
    folders = [*getattr(module, "__path__", ())]
    place = folders[0] if folders else getattr(module, "__file__", None)
    return "without a file" if place is None else Path(place).resolve()
