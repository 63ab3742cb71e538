"""Documentation is proven: YAML validates, generated pages are current, commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from jobs import docs
from pipeline.checkpoints import cards, hub
from pipeline.commands import COMMANDS, app
from pipeline.config import DistillConfig, JobConfig, RefreshConfig, load_config
from pipeline.config.export import ExportConfig
from pipeline.engine import families
from pipeline.engine.families import find, parse_settings

ROOT = Path(__file__).resolve().parents[2]
# Distillations have settings of their own; tests/config/test_distill.py reads those.
JOBS = [p for p in sorted(ROOT.glob("conf/*.yaml")) if not p.name.startswith("distill")]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_job_in_conf_is_valid_and_complete(path: Path) -> None:
    kind = RefreshConfig if path.name.startswith("refresh") else JobConfig
    job = load_config(kind, path.read_text(encoding="utf-8"), source=str(path))
    model = cards.resolve(job.model)
    parse_settings(find(str(model.family)), model.settings)


def test_the_commented_job_names_every_setting() -> None:
    import yaml

    data = yaml.safe_load((ROOT / "conf/rerank.yaml").read_text(encoding="utf-8"))
    known = load_config(JobConfig, (ROOT / "conf/rerank.yaml").read_text()).model_dump()
    for section, values in known.items():
        assert section in data, section
        if isinstance(values, dict):
            assert set(values) == set(data[section]), section


@pytest.mark.parametrize("name", cards.names())
def test_every_model_card_fits_its_family(name: str) -> None:
    card = cards.read(name)
    assert card.family in families.names()
    parse_settings(find(card.family), card.settings)
    assert card.licence
    assert card.revision is None or hub.is_commit(card.revision)


@pytest.mark.parametrize("name", sorted(docs.PAGES))
def test_generated_pages_are_current(name: str) -> None:
    current = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert current == docs.PAGES[name](), "run: python -m jobs.docs"


def commands_of(shell: str) -> list[str]:
    """Its lines that begin with ``rerank``."""
    return [
        line.strip().split("  #")[0].strip()
        for line in shell.replace("\\\n", " ").splitlines()
        if line.strip().startswith("rerank ")
    ]


def documented_commands() -> list[str]:
    """Every ``rerank ...`` line in a shell block of README and docs/, and of the examples."""
    found = []
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]:
        for block in re.findall(r"```(?:bash|console|sh)\n(.*?)```", path.read_text(), re.S):
            found += commands_of(block)
    for path in sorted(ROOT.glob("examples/*.sh")):
        found += commands_of(path.read_text())
    return sorted(set(found))


@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_parse(line: str) -> None:
    """Options and arguments exist: click parses the line, with --help put where it runs nothing."""
    words = shlex.split(line.split(" > ")[0].split(" | ")[0])[1:]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    offered = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", result.output))
    used = {word.split("=")[0] for word in words if word.startswith("-")}
    assert used <= offered, used - offered


def has_setting(model: type[BaseModel], path: list[str]) -> bool:
    """Whether a dotted key names a setting; whatever lies below a mapping does."""
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return has_setting(field.annotation, path[1:])
    return str(field.annotation).startswith("dict")


@pytest.mark.parametrize("line", [line for line in documented_commands() if "--set " in line])
def test_documented_settings_exist(line: str) -> None:
    words = shlex.split(line.split(" > ")[0].split(" | ")[0])
    models = {"distill": DistillConfig, "export": ExportConfig, "refresh": RefreshConfig}
    model = models.get(words[1], JobConfig)
    keys = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    unknown = [key for key in keys if not has_setting(model, key.split("=")[0].split("."))]
    assert keys and not unknown


def test_a_setting_that_is_not_there_is_noticed() -> None:
    assert has_setting(JobConfig, ["input", "columns", "doc_id"])
    assert not has_setting(JobConfig, ["input", "colums"])
    assert not has_setting(JobConfig, ["input", "path", "deeper"])


def test_the_python_example_of_the_readme_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [block] = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "import load" in b]
    shown = "\nprint(scores.dtype, scores.shape, [document.rank for document in ranked])"
    done = subprocess.run(
        [sys.executable, "-c", block + shown], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[0] == "float32 (2,) [1, 2]", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_documented(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.strip().splitlines()[0].startswith("Usage:")
    assert any(line.split()[1] == name for line in documented_commands()), name


@pytest.mark.parametrize(
    "module", ["jobs.rerank", "jobs.refresh", "jobs.evaluate", "benchmarks.lexical_throughput"]
)
def test_modules_that_are_run_by_name_have_help(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_the_map_shows_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in sorted(ROOT.glob("pipeline/*/__init__.py"))]
    missing = [room for room in rooms if f"{room}/" not in text]
    assert not missing
