"""``pytest --quick``: what a contributor runs on each save, in two minutes; CI runs everything.

No list says which tests these are. A file is left out by what it imports, itself or through other
modules of the tests: Ray, processes, servers, whole commands, upstream's own networks. Files that
are left out are not even imported. A test is left out by its fixtures: those that lie in a plugin
(``tests/fixtures_*.py``) start something or run whole jobs; and by the mark ``slow`` where it takes
seconds for another reason. Properties are tried on fewer examples. Ray is never imported: a quick
test that does it all the same fails.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

#: What takes seconds to start, or is not on this machine alone.
SLOW = (
    "benchmarks",
    "boto3",
    "moto",
    "multiprocessing",
    "onnxruntime",
    "openvino",
    "pipeline.bench",
    "pipeline.comparison",
    "pipeline.distillation.student",
    "pipeline.execution.run",
    "psutil",
    "ray",
    "sentence_transformers",
    "subprocess",
    "transformers",
    "typer.testing",
)

_EXAMPLES = 10
_RAY = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--quick", action="store_true", help="only tests without Ray and servers")


def pytest_configure(config: pytest.Config) -> None:
    """Fewer examples."""
    if config.getoption("--quick"):
        settings.register_profile("quick", deadline=None, max_examples=_EXAMPLES)
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files out before they are imported."""
    if not config.getoption("--quick") or collection_path.suffix != ".py":
        return None
    return True if slow_imports(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests out by their fixtures."""
    if not config.getoption("--quick"):
        return
    slow = [item for item in items if is_slow(item)]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> None:
    """And those that ask for such a fixture as they run."""
    if request.config.getoption("--quick") and _of_plugin(fixturedef):
        fixturedef.func = _left_out  # which pytest then sets up, and remembers, as any other


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Ray was not imported, so nothing of it was started."""
    config = item.config
    if config.getoption("--quick") and "ray" in sys.modules and _RAY not in config.stash:
        config.stash[_RAY] = 1  # it stays imported; only the test that did it is named
        pytest.fail("a quick test has imported ray: see tests/quick.py", pytrace=False)


def is_slow(item: pytest.Item) -> bool:
    """Whether a test says so, or a fixture is of a plugin, one that another asks for among them."""
    if item.get_closest_marker("slow") is not None:
        return True
    known: Iterable[str] = getattr(item, "fixturenames", ())
    info = getattr(item, "_fixtureinfo", None)
    found = {} if info is None else info.name2fixturedefs
    return any(_of_plugin(one) for name in known for one in found.get(name, ()))


@cache
def slow_imports(path: Path) -> frozenset[str]:
    """What of :data:`SLOW` a file of the tests imports, wherever in it, and through other ones."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    found: set[str] = set()
    for name in _imported(tree):
        found.update(one for one in SLOW if name == one or name.startswith(f"{one}."))
        inner = _file_of(name)
        if inner is not None and inner != path:
            found |= slow_imports(inner)
    return frozenset(found)


def _left_out(**_: object) -> None:
    pytest.skip("not among the quick tests, by its fixtures")


def _of_plugin(fixturedef: Any) -> bool:
    return str(fixturedef.func.__module__).startswith("tests.fixtures_")


def _imported(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> Path | None:
    """The file of a module of the tests."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if name.startswith("tests.") and path.is_file() else None
