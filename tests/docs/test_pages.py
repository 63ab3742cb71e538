"""The pages as a site: links lead somewhere, pages are in the index, the README is short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.name for path in ROOT.glob("docs/*.md"))


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Links between pages, to headings and to files of the repository; the README among them."""
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "make install" in (tmp_path / "site" / "contributing.html").read_text(encoding="utf-8")
    assert (tmp_path / "site" / "conf" / "rerank.yaml").is_file()
    shown = "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("site/*.html"))
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', shown)


@pytest.mark.parametrize("page", [name for name in PAGES if name != "index.md"])
def test_every_page_is_in_the_index(page: str) -> None:
    assert f"]({page})" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_the_readme_is_short_and_says_how_fast_on_its_first_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    first = "\n".join(lines[:50])
    assert all(word in first for word in ("H100", "CPU", "make demo"))
