"""What is printed is what was meant: no markup, no escape sequence, no secret, nothing lost."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.reports.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = "[red]a[/x] [/] :smile: \x1b]0;t\x07 \u202e\ud800 s3://AKID:hunter22@b"
SHOWN = "[red]a[/x] [/] :smile: \\x1b]0;t\\x07 \\u202e\\ud800 s3://***@b"


def printed(terminal: Terminal) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal(width=300)
    made.file = io.StringIO()
    return made


def test_a_line_is_one_line_of_what_it_holds(terminal: Terminal) -> None:
    terminal.say(f"run  {HOSTILE}\nerror: forged")
    assert printed(terminal) == f"run  {SHOWN}\\nerror: forged\n"
    terminal.say()
    assert printed(terminal).endswith("\n\n")


def test_tables_show_cells_titles_and_headings_as_they_are(terminal: Terminal) -> None:
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    terminal.print(Group(table, HOSTILE, Text(HOSTILE.replace("\x07", ""))))
    assert printed(terminal).count(SHOWN) == 5
    assert printed(terminal).count(SHOWN.replace("\\x07", "")) == 1
    assert not set(printed(terminal)) & {"\x1b", "\x07", "\u202e", "\ud800"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_encoding_does_not_have_is_escaped(encoding: str) -> None:
    raw = io.BytesIO()
    terminal = Terminal(width=80)
    terminal.file = io.TextIOWrapper(raw, encoding=encoding)
    terminal.say("粗い紙 – é")
    terminal.print(Text("粗い紙 – é"))
    terminal.file.flush()
    expected = "粗い紙 – é\n".encode(encoding, "backslashreplace")
    assert raw.getvalue() == expected * 2


def test_a_reader_that_has_gone_is_an_error_of_the_caller() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    terminal = Terminal()
    terminal.file = Gone()
    with pytest.raises(BrokenPipeError):
        terminal.say("x")


def violations(path: Path) -> Iterator[str]:
    """Ways past the terminal: consoles of rich's own, markup, and prints of formatted data."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rich"):
            for name in node.names:
                if name.name in ("Console", "print", "escape", "Panel", "Markdown", "inspect"):
                    yield f"{path.name}:{node.lineno}: {name.name} of {node.module}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("print", "typer.secho", "rich.print", "Text.from_markup", "Text.from_ansi"):
            yield f"{path.name}:{node.lineno}: {called}"
        if called == "TextColumn" and "markup=False" not in ast.unparse(node):
            yield f"{path.name}:{node.lineno}: {called} with markup"
        if called.endswith("console.print") and isinstance(
            node.args[0] if node.args else None, (ast.JoinedStr, ast.Constant, ast.BinOp)
        ):
            yield f"{path.name}:{node.lineno}: {called} of text; say() escapes it"
        if called == "typer.echo" and not ast.unparse(node.args[0]).startswith(
            ("json.dumps", "redacted(json.dumps", "f'rerank-pipeline ")
        ):
            yield f"{path.name}:{node.lineno}: {called} of data"


def test_everything_is_printed_by_the_terminal() -> None:
    files = [*ROOT.glob("jobs/**/*.py"), *ROOT.glob("pipeline/**/*.py")]
    found = [
        line
        for path in files
        if path.relative_to(ROOT).as_posix()
        not in ("pipeline/reports/terminal.py", "pipeline/demo/corpus.py")
        for line in violations(path)
    ]
    assert len(files) > 100
    assert not found, "\n".join(found)


def test_a_cell_is_as_wide_as_its_escapes() -> None:
    """Where the stream's encoding lacks a character, no cell is cut for it."""
    console = Terminal(width=40)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console.file = stream
    table = Table("hours", "state", box=None)
    table.add_row("1.5–3.0", "to do")
    console.print(table)
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue().split()[2:] == [b"1.5\\u20133.0", b"to", b"do"]


@pytest.mark.parametrize(
    "code",
    [
        "from rich.console import Console",
        "from rich import print",
        "print(path)",
        "console.print(f'run {path}')",
        "TextColumn('{task.description}')",
        "typer.echo(path)",
    ],
)
def test_a_way_past_the_terminal_is_noticed(tmp_path: Path, code: str) -> None:
    (tmp_path / "x.py").write_text(code)
    assert len(list(violations(tmp_path / "x.py"))) == 1
