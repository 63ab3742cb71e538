"""The quick tests are found by what tests import and ask for, and Ray is not among it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quick import is_slow, slow_imports

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("jobs/test_submit.py", {"subprocess"}),
        ("execution/test_termination.py", {"multiprocessing"}),  # by way of its drivers
        ("execution/cluster/test_faults.py", {"psutil"}),
        ("test_cli.py", {"subprocess"}),
        ("ranking/test_ranks.py", set()),
        ("config/reading/test_loading.py", set()),
        ("networks/attention/test_flat.py", set()),
    ],
)
def test_files_are_left_out_for_what_they_import(name: str, because: set[str]) -> None:
    assert because <= slow_imports(HERE / name)
    assert bool(slow_imports(HERE / name)) == bool(because)


def test_every_file_that_speaks_of_ray_is_left_out() -> None:
    start = "ray" + ".init("
    speaking = [path for path in HERE.rglob("test_*.py") if start in path.read_text("utf-8")]
    assert speaking
    assert not [path for path in speaking if not slow_imports(path)]


def test_tests_are_left_out_for_their_fixtures(request: pytest.FixtureRequest) -> None:
    assert not is_slow(request.node)
    others = [item for item in request.session.items if "ray_cluster" in item.fixturenames]
    assert all(is_slow(item) for item in others)


def test_ray_is_nowhere_in_a_quick_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE.parent))
    pytester.makepyfile(
        ray="",
        test_it="""
        def test_imports():
            __import__("ray")

        def test_imports_nothing():
            pass
        """,
    )
    quick = pytester.runpytest_subprocess("-p", "tests.quick", "--quick")
    quick.assert_outcomes(passed=2, errors=1)
    quick.stdout.fnmatch_lines(["*a quick test has imported ray*"])
    assert pytester.runpytest_subprocess("-p", "tests.quick").ret == 0
