"""YAML files and ``--set a.b=c`` become one validated, frozen settings model."""

from __future__ import annotations

import copy
import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.reading.setting_types import alternatives, member
from pipeline.config.reading.typed_yaml import TypedYamlError, read_document, read_value
from pipeline.errors import ConfigurationError
from pipeline.plain_text import visible

T = TypeVar("T", bound=BaseModel)

_MOST_PROBLEMS: Final = 8

#: How pydantic calls a type of a value with several.
_TYPE: Final = re.compile(r"constrained-(int|float)|literal\[.*\]")


def load_config(
    model: type[T],
    text: str | Mapping[str, Any] | None = None,
    *,
    source: str = "",
    overrides: Iterable[str] = (),
    opened: Callable[[Mapping[str, Any]], type[BaseModel] | None] | None = None,
) -> T:
    """Parse, override and validate a configuration.

    Args:
        model: the settings model to build.
        text: YAML content, the same as plain data, or None for defaults and overrides alone.
        source: where the text came from; named in errors.
        overrides: ``a.b=c`` assignments in order; the value is read by the type of the setting
            (see :func:`pipeline.config.reading.typed_yaml.read_value`).
        opened: from all that is set, ``model`` with types in sections that it leaves open; values
            are read by them, and validated by ``model``.

    Raises:
        ConfigurationError: bad YAML, an unknown key (the nearest known one is named), a value of
            the wrong type, or a malformed override.
    """
    assignments = [_Assignment.of(override) for override in overrides]
    data = _loaded(model, text, source, assignments)
    if opened is not None and (kind := opened(data)) is not None:
        data = _loaded(kind, text, source, assignments)
    return validate(model, data, source=source)


def validate(model: type[T], data: Mapping[str, Any], *, source: str = "", prefix: str = "") -> T:
    """Build ``model`` from plain data; errors name each wrong key with ``prefix`` before it."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        where = f"{source}: " if source else ""
        problems = [_describe(model, problem, prefix) for problem in _one_a_key(error.errors())]
        more = f"; and {len(problems) - _MOST_PROBLEMS} more" if problems[_MOST_PROBLEMS:] else ""
        raise ConfigurationError(where + "; ".join(problems[:_MOST_PROBLEMS]) + more) from None


def to_yaml(config: BaseModel) -> str:
    """The resolved configuration as YAML, in declaration order."""
    data = config.model_dump(mode="json")
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    if visible(text, keep="\n") != text:  # as escapes, which read back as the same characters
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False)
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where something is near, else the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"


@dataclass(frozen=True)
class _Assignment:
    """``a.b=c``, of which only the first equals sign counts."""

    whole: str
    path: tuple[str, ...]
    raw: str

    @classmethod
    def of(cls, override: str) -> _Assignment:
        path, separator, raw = override.partition("=")
        parts = tuple(path.strip().split("."))
        if not separator or not all(part.strip() for part in parts):
            raise ConfigurationError(
                f"--set {override!r}: expected KEY=VALUE, e.g. engine.dtype=float32"
            )
        return cls(override, parts, raw)

    def apply(self, data: dict[str, Any], kind: Any) -> None:
        """Set the value, making the sections around it where they are not there yet."""
        node, rest = data, list(self.path)
        while len(rest) > 1 and not _holds_values(kind):
            part = rest.pop(0)
            kind = member(kind, part)
            child = node.get(part)
            if child is None and _may_hold_keys(kind):
                child = node[part] = {}
            if not isinstance(child, dict):
                done = ".".join(self.path[: len(self.path) - len(rest)])
                raise ConfigurationError(
                    f"--set {self.whole!r}: '{done}' is a value, not a section"
                )
            node = child
        leaf = ".".join(rest)  # names of labels and columns may have dots in them
        try:
            node[leaf] = read_value(self.raw, member(kind, leaf))
        except TypedYamlError as error:
            raise ConfigurationError(f"--set {self.whole!r}: the value is {error}") from None


def _loaded(
    kind: Any,
    text: str | Mapping[str, Any] | None,
    source: str,
    assignments: Iterable[_Assignment],
) -> dict[str, Any]:
    if isinstance(text, Mapping):
        data = copy.deepcopy(dict(text))
    else:
        data = _parse(text or "", source, kind)
    for assignment in assignments:
        assignment.apply(data, kind)
    return data


def _parse(text: str, source: str, kind: Any) -> dict[str, Any]:
    name = source or "configuration"
    try:
        data = read_document(text, kind)
    except TypedYamlError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{name}: expected a mapping of sections at the top, found {type(data).__name__}"
        )
    return data


def _holds_values(kind: Any) -> bool:
    """Whether this is a mapping from names to single values."""
    return any(
        get_origin(taken) is dict and not any(map(_may_hold_keys, alternatives(get_args(taken)[1])))
        for taken in alternatives(kind)
    )


def _may_hold_keys(kind: Any) -> bool:
    return any(
        taken is Any
        or get_origin(taken) is dict
        or (isinstance(taken, type) and issubclass(taken, BaseModel))
        for taken in alternatives(kind)
    )


def _one_a_key(problems: Sequence[Any]) -> list[Any]:
    """The problems, those of one value with several types as one: each type that it is not.

    pydantic puts the type behind the key, e.g. ``replicas.min.constrained-int``.
    """
    found: dict[tuple[Any, ...], Any] = {}
    for problem in problems:
        *key, last = problem["loc"] or (None,)
        if not (isinstance(last, str) and _TYPE.fullmatch(last)):
            found[problem["loc"]] = problem
            continue
        before = found.get(tuple(key))
        message = problem["msg"]
        if before is not None:
            message = f"{before['msg']}, or {message.removeprefix('Input should be ')}"
        found[tuple(key)] = problem | {"loc": tuple(key), "msg": message}
    return list(found.values())


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
    if isinstance(shown, dict):
        return f"'{key}': {message}"
    hint = "; write it in quotes to mean these characters" if _unquoted(problem, shown) else ""
    return f"'{key}': {message} (got {reprlib.repr(shown)}{hint})"


def _unquoted(problem: Any, shown: object) -> bool:
    """Whether YAML has made something else of what should have been a string."""
    return problem["type"] == "string_type" and isinstance(shown, (bool, int, float, NoneType))


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    current: type[BaseModel] = model
    for part in location:
        field = current.model_fields.get(part)
        annotation = None if field is None else field.annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        current = annotation
    return list(current.model_fields)
