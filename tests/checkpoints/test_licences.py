"""A licence is what a file beside the weights states, and is never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checkpoints.licences import UNKNOWN, stated_licence

APACHE = "                                 Apache License\n                           Version 2.0\n"


@pytest.mark.parametrize(
    ("files", "licence", "file"),
    [
        ({"README.md": "---\nlicense: apache-2.0\n---\n# A model"}, "apache-2.0", "README.md"),
        (
            {"README.md": "---\r\nlicense: other\r\nlicense_name: gemma\r\n---\r\n"},
            "gemma",
            "README.md",
        ),
        ({"README.md": "# no front matter", "LICENSE": APACHE}, "Apache-2.0", "LICENSE"),
        ({"LICENSE.txt": "MIT License\n\nCopyright"}, "MIT", "LICENSE.txt"),
        ({"LICENSE": "Our terms"}, "see LICENSE of the checkpoint", "LICENSE"),
        ({"README.md": "---\nlicense: [a, b]\n---\n"}, UNKNOWN, None),
        ({"README.md": "---\nlicense: !!python/object:os.system x\n---\n"}, UNKNOWN, None),
        ({"README.md": "---\nlicense: ' '\n---\n"}, UNKNOWN, None),
        ({}, UNKNOWN, None),
    ],
)
def test_what_files_state(
    tmp_path: Path, files: dict[str, str], licence: str, file: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    found, source = stated_licence(tmp_path)
    assert found == licence
    assert source == (None if file is None else f"{file} of the checkpoint")


def test_what_is_no_text_states_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    (tmp_path / "LICENSE").write_bytes(b"\xff\xfe\x00")
    assert stated_licence(tmp_path)[0] == "see LICENSE of the checkpoint"
