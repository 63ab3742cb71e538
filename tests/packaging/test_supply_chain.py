"""What a release says of what it stands on: the SBOM, the licences, and extras that suffice."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_sbom_of_the_makefile_lists_every_pin(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    [options] = re.findall(r"cyclonedx-py (requirements .*) --output-file", recipe)
    # The schema takes seconds to check; `make dist` does it.
    words = [Path(sys.prefix, "sbom/bin/cyclonedx-py"), *options.split(), "--no-validate"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    bom = json.loads(done.stdout)
    assert bom["bomFormat"] == "CycloneDX"
    assert bom["metadata"]["component"]["name"] == "rerank-pipeline"
    assert {c["name"]: c["version"] for c in bom["components"]} == pins()


def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / ".ci" / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_licences_is_current() -> None:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    written = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| distribution")
    }
    # A later Python needs fewer backports; whatever is installed must be on the page as it is.
    assert set(licences().rows()) <= written, "run: python .ci/licences.py > docs/licences.md"
    known = {normalised(name): version for name, version in pins().items()}
    assert all(known[normalised(name)] == version for name, version, _ in written)


def test_the_extras_of_users_and_those_of_developers_are_told_apart() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    offered = set(project["optional-dependencies"])
    assert offered - licences().EXTRAS == {"bench", "dev", "gpu", "release", "runtimes"}


def test_the_demo_extra_brings_the_weights_of_the_demo() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {re.split(r"[><=\[]", t)[0] for t in project["optional-dependencies"]["demo"]}
    card = (ROOT / "conf/models/all-minilm-l6-v2.yaml").read_text(encoding="utf-8")
    [package] = re.findall(r"^weights: package:(\w+)/", card, re.M)
    assert {normalised(package), "bm25s"} <= brought
