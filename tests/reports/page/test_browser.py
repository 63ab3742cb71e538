"""Pages in headless Chromium, as a phone and a desk, light and dark, looked through by axe-core.

It needs chromium and node 22, and npm fetches two packages, so it is a nightly matter:
``make test ARGS='-m nightly tests/reports/page'``. What a page holds is tested without a browser in
``test_render.py``. The pictures of the pages lie in pytest's temporary folder, to be looked at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from pipeline.reports.page.render import render

HERE = Path(__file__).parent
HOSTILE = (
    "</style></title><script>alert(1)</script><img src=//elsewhere.example/x onerror=alert(2)> "
    "\u202egnp.exe\u2066 \u05e9\u05dc\u05d5\u05dd" + "t" * 10_000
)

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script with its packages beside it."""
    folder = tmp_path_factory.mktemp("browser")
    for file in (HERE / "browser").iterdir():
        shutil.copy(file, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
    return folder / "check.mjs"


def pages() -> dict[str, dict[str, Any]]:
    """The data that ``test_render.py`` looks at as text, with plain and with hostile texts."""
    spec = spec_from_file_location("data_of_pages", HERE / "test_render.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"plain": module.with_pictures("name"), "hostile": module.with_pictures(HOSTILE)}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_a_browser_finds_nothing_wrong(check: Path, tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(pages()[name]), encoding="utf-8")
    command = ["node", str(check), str(shutil.which("chromium")), str(page), str(tmp_path)]
    done = subprocess.run(command, cwd=check.parent, capture_output=True, text=True, timeout=300)
    assert json.loads((tmp_path / "found.json").read_text()) == [], done.stdout + done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 4
