"""The settings of a model as a Markdown table, so that documentation and code cannot differ."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def settings_markdown(model: type[BaseModel], *, prefix: str = "") -> str:
    """One row per setting with its dotted key, after ``prefix``, default and description."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{key}` | {_default(field)} | {_cell(field)} |" for key, field in _leaves(model, prefix)
    ]
    return "\n".join(rows)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "–"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value!r}`" if not isinstance(value, str) else f"`{value}`" if value.strip() else "–"


def _cell(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")
