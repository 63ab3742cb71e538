from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.execution.runs.run_folder import RunFolder
from pipeline.storage.probe import StoreAbilities
from tests.refresh.publications.runs import make_run

#: Every test has so many runs, if it asks for any.
RUNS = 5


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with finished runs and no publication, made once."""
    made = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        abilities = StoreAbilities(create=True, replace=True, detail="")
        patch.setattr("pipeline.execution.session.probe", lambda _: abilities)
        for seed in range(RUNS):
            make_run(str(made / "out"), made, seed)
    return made / "out"


@pytest.fixture(autouse=True)
def quick_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe of stores is tested elsewhere, and would cost every test its second."""
    abilities = StoreAbilities(create=True, replace=True, detail="")
    for module in ("pipeline.execution.session", "pipeline.refresh.publications.publishing"):
        monkeypatch.setattr(f"{module}.probe", lambda _: abilities)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """An output folder."""
    return str(tmp_path / "out")


@pytest.fixture
def runs(template: Path, root: str) -> list[RunFolder]:
    """Finished runs in it, none of them published."""
    shutil.copytree(template, root)
    return [RunFolder(str(path)) for path in sorted(Path(root).iterdir()) if path.is_dir()]
