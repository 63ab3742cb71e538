"""The one step of a build that pyproject.toml cannot state: a package carries its commit."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from pipeline import build_info  # noqa: E402 (a build's own folder is not on its path)


def note(package: Path) -> None:
    """Write the commit into a package's folder; a source archive passes on its own."""
    found = build_info.of_package(ROOT / "pipeline") or build_info.of_checkout(ROOT)
    if found is not None:
        build_info.write(package, found)


class BuildPy(build_py):
    """Modules, and the file with the commit; an editable install reads its checkout instead."""

    def run(self) -> None:
        """Copy the modules, then add the file."""
        super().run()
        if not self.editable_mode:
            note(Path(self.build_lib, "pipeline"))


class Sdist(sdist):
    """The source archive, and the file with the commit: there is no ``.git`` in it."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the sources, then add the file."""
        super().make_release_tree(base_dir, files)
        note(Path(base_dir, "pipeline"))


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
