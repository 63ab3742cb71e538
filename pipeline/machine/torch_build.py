"""What the installed torch was built for, read from its files: importing it takes a second."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def torch_cuda() -> str | None:
    """CUDA version that torch was built with, e.g. ``13.0``; None: without CUDA, or no torch.

    torch writes it into its ``version.py`` when it is built (tools/generate_torch_version.py).
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return cuda_in(Path(spec.origin).with_name("version.py"))


def cuda_in(file: Path) -> str | None:
    """The value of ``cuda`` in a ``version.py`` of torch; None where it holds no version."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "cuda" for target in targets):
            value = getattr(node, "value", None)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
    return None
