from __future__ import annotations

import glob
import sysconfig
import tomllib
from pathlib import Path

import pytest

from pipeline import resources
from pipeline.errors import ConfigurationError, NotFoundError

ROOT = Path(__file__).resolve().parents[1]
SHARE = Path("share", "rerank-pipeline", "conf")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkout's conf/ and an installed one, both empty."""
    package = tmp_path / "checkout" / "pipeline"
    checkout = tmp_path / "checkout" / "conf"
    installed = tmp_path / "prefix" / SHARE
    for folder in (package, checkout / "models", installed / "models"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    monkeypatch.setattr(sysconfig, "get_path", {"data": str(tmp_path / "prefix")}.__getitem__)
    return checkout, installed


def test_the_checkout_comes_first(places: tuple[Path, Path]) -> None:
    for folder in places:
        (folder / "models" / "a.yaml").touch()
    assert resources.conf_path("models/a.yaml") == places[0] / "models" / "a.yaml"


def test_the_installed_copy_is_found(places: tuple[Path, Path]) -> None:
    (places[1] / "models" / "a.yaml").touch()
    assert resources.conf_path("models/a.yaml") == places[1] / "models" / "a.yaml"


def test_a_folder_can_be_asked_for(places: tuple[Path, Path]) -> None:
    assert resources.conf_path("models") == places[0] / "models"


def test_a_missing_file_names_both_places(places: tuple[Path, Path]) -> None:
    with pytest.raises(NotFoundError) as caught:
        resources.conf_path("models/b.yaml")
    for folder in places:
        assert str(folder / "models" / "b.yaml") in str(caught.value)


@pytest.mark.parametrize("relative", ["../pyproject.toml", "models/../../x", "/etc/hosts"])
def test_a_path_that_leaves_conf_is_refused(relative: str) -> None:
    with pytest.raises(ConfigurationError, match="stays in conf/"):
        resources.conf_path(relative)


def test_a_wheel_carries_every_file_of_conf() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    matched = {
        (target, pattern): glob.glob(pattern, root_dir=ROOT)  # noqa: PTH207 (setuptools' own rule)
        for target, patterns in settings["tool"]["setuptools"]["data-files"].items()
        for pattern in patterns
    }
    assert all(matched.values()), f"patterns that match nothing: {matched}"
    carried = {
        Path(target, Path(name).name) for (target, _), names in matched.items() for name in names
    }
    wanted = {
        SHARE / path.relative_to(ROOT / "conf")
        for path in (ROOT / "conf").rglob("*")
        if path.is_file()
    }
    assert carried == wanted


def test_a_wheel_carries_every_file_beside_the_code_and_nothing_of_the_repository() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = settings["tool"]["setuptools"]
    [(package, patterns)] = settings["package-data"].items()
    folder = ROOT / package
    matched = {pattern: set(folder.glob(pattern)) for pattern in patterns}
    assert all(matched.values()), f"patterns that match nothing: {matched}"
    wanted = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert set().union(*matched.values()) == {
        path for path in wanted if path.parent.name != "__pycache__"
    }
    assert settings["packages"]["find"]["include"] == ["rerank_pipeline*", "pipeline*", "jobs*"]
