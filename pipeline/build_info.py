"""Which build this is: version, commit, and the versions of what it stands on.

Nothing here imports a library that it speaks of: versions are read from installed metadata. The
module itself needs the standard library alone, for ``setup.py`` reads the commit with it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

#: What a build writes beside this module; a checkout has no such file.
FILE: Final = "build.json"

#: ``COMMIT DATE``, for a build of a tree without its ``.git``, such as that of an image.
VARIABLE: Final = "RERANK_BUILD"

#: What decides whether two machines compute the same.
LIBRARIES: Final = (
    "torch", "ray", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Build:
    """The state of the sources that a package was made from.

    Attributes:
        commit: abbreviated; it ends with ``+`` where files differ from it.
        date: of the commit, ``YYYY-MM-DD``.
    """

    commit: str
    date: str

    def __str__(self) -> str:
        return f"{self.commit}, {self.date}"


def build() -> Build | None:
    """The build that is installed, or the commit that is checked out, where either is known."""
    folder = Path(__file__).resolve().parent
    return of_package(folder) or of_checkout(folder.parent)


def of_package(folder: Path) -> Build | None:
    """What :func:`write` left in the folder of the package."""
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Build(commit=str(known["commit"]), date=str(known["date"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def of_checkout(root: Path) -> Build | None:
    """The commit of a git checkout whose root is ``root``, or what ``RERANK_BUILD`` says of it."""
    if told := os.environ.get(VARIABLE, "").split():
        return Build(commit=told[0], date=told[1] if len(told) > 1 else "")
    if not (root / ".git").exists():
        return None
    try:
        commit, date = _git(root, "log", "-1", "--format=%h %cs").split()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Build(commit=commit + "+" * bool(changed), date=date)


def write(folder: Path, found: Build) -> None:
    """Leave ``found`` in the folder of a package that is being built."""
    (folder / FILE).write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")


def version_lines(own: str) -> Iterator[str]:
    """What ``rerank --version`` prints: the version with its build, Python, and the libraries.

    Args:
        own: the version of this package.
    """
    found = build()
    yield f"rerank-pipeline {own}" + (f" ({found})" if found else "")
    yield f"python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is not installed"


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()
