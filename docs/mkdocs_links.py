"""For MkDocs: pages link to files of the repository as they lie there, and the site carries these.

A page's ``../conf/rerank.yaml`` leads out of ``docs/``, which is right on a checkout and nowhere on
a site. Files that are linked so become files of the site, at their own place below its root, and of
a folder without a README a list of its files does.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]

#: Where pages of the repository are on the site, where that is not their own place. A README at the
#: root would be taken for the index.
PLACES = {"CONTRIBUTING.md": "contributing.md", "README.md": "repository.md"}

_LINK = re.compile(r"(?<=\]\()([\w.][^)#:\s]*)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to outside of ``docs/``, and those that these link to."""
    waiting, done = [f"docs/{page.name}" for page in sorted(ROOT.glob("docs/*.md"))], set[str]()
    while waiting:
        source = waiting.pop()
        for target in _targets(source) - done:
            done.add(target)
            if not target.startswith("docs/"):
                waiting.append(target)
                files.append(_file(target, config))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links lead to where these files are on the site."""
    here = page.file.src_uri
    source = next((name for name, place in PLACES.items() if place == here), here)
    if (ROOT / "docs" / here).is_file():
        source = f"docs/{here}"

    def moved(found: re.Match[str]) -> str:
        target = _target(source, found[1])
        if target is None:
            return found[1]  # the strict build says that it leads nowhere
        return posixpath.relpath(_place(target), posixpath.dirname(here) or ".")

    return _LINK.sub(moved, markdown)


def _targets(source: str) -> set[str]:
    """Files of the repository that a page links to."""
    if not source.endswith(".md") or not (ROOT / source).is_file():
        return set()
    found = _LINK.findall((ROOT / source).read_text(encoding="utf-8"))
    return {target for link in found if (target := _target(source, link)) is not None}


def _target(source: str, link: str) -> str | None:
    """What a link means, from the repository's root; a folder's README; None where nothing is."""
    name = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if (ROOT / name).is_dir():
        return f"{name}/README.md"
    return name if (ROOT / name).is_file() else None


def _place(name: str) -> str:
    return PLACES.get(name, name.removeprefix("docs/"))


def _file(name: str, config: Any) -> File:
    in_nav = name == "CONTRIBUTING.md"
    shown = InclusionLevel.INCLUDED if in_nav else InclusionLevel.NOT_IN_NAV
    path = ROOT / name
    if path.is_file():
        return File.generated(config, _place(name), abs_src_path=os.fspath(path), inclusion=shown)
    links = [f"- {file.name}" for file in sorted(path.parent.iterdir()) if file.is_file()]
    text = "\n".join([f"# {posixpath.dirname(name)}", "", *links])
    return File.generated(config, _place(name), content=text, inclusion=shown)
