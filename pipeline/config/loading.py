"""YAML files and ``--set a.b=c`` become one validated, frozen settings model."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigurationError

T = TypeVar("T", bound=BaseModel)


def load_config(
    model: type[T], text: str | None = None, *, source: str = "", overrides: Iterable[str] = ()
) -> T:
    """Parse, override and validate a configuration.

    Args:
        model: the settings model to build.
        text: YAML content, or None for defaults and overrides alone.
        source: where the text came from; named in errors.
        overrides: ``a.b=c`` assignments; the value is read as YAML.

    Raises:
        ConfigurationError: bad YAML, an unknown key (the nearest known one is named), a value of
            the wrong type, or a malformed override.
    """
    data = _parse(text or "", source)
    for override in overrides:
        _assign(data, override)
    return validate(model, data, source=source)


def validate(model: type[T], data: Mapping[str, Any], *, source: str = "", prefix: str = "") -> T:
    """Build ``model`` from plain data; errors name each wrong key with ``prefix`` before it."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        where = f"{source}: " if source else ""
        problems = [_describe(model, problem, prefix) for problem in error.errors()]
        raise ConfigurationError(where + "; ".join(problems)) from None


def to_yaml(config: BaseModel) -> str:
    """The resolved configuration as YAML, in declaration order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where something is near, else the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source or 'configuration'}: not valid YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{source or 'configuration'}: expected a mapping of sections at the top, "
            f"found {type(data).__name__}"
        )
    return data


def _assign(data: dict[str, Any], override: str) -> None:
    path, separator, raw = override.partition("=")
    if not separator or not path.strip():
        raise ConfigurationError(
            f"--set {override!r}: expected KEY=VALUE, e.g. engine.dtype=float32"
        )
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError:
        raise ConfigurationError(f"--set {override!r}: the value is not valid YAML") from None
    *parents, leaf = path.strip().split(".")
    node = data
    for depth, parent in enumerate(parents):
        child = node.get(parent)
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise ConfigurationError(
                f"--set {override!r}: '{'.'.join(parents[: depth + 1])}' is a value, not a section"
            )
        node = child
    node[leaf] = value


def _describe(model: type[BaseModel], problem: Any, prefix: str) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join([*([prefix] if prefix else []), *location])
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {nearest(location[-1], _fields_at(model, location[:-1]))}"
    if problem["type"] == "missing":
        return f"missing key '{key}'; set it in the file or with --set {key}=..."
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    shown = problem.get("input")
    return f"'{key}': {message}" + ("" if isinstance(shown, dict) else f" (got {shown!r})")


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    current: type[BaseModel] = model
    for part in location:
        annotation = current.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        current = annotation
    return list(current.model_fields)
