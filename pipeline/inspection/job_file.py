"""A complete, commented job file for an input: ``conf/rerank.yaml`` with what fits put in."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline.plain_text import redacted, visible

_WIDTH: Final = 96

#: Asked for where a value of the template should be found and is not: it then has changed.
_KEY: Final = r"(?m)^(?P<head>{indent}{name}:)(?P<value>[^\n]*)$"


def job_file(template: str, values: Mapping[str, Any], about: Iterable[str]) -> str:
    """The template with values in place of its own, and a new comment at its beginning.

    Args:
        template: a job file; its first comment ends with the first empty line.
        values: ``section.key`` to what is put there, all of them keys of the template.
        about: what is known of the input, a sentence each, for the comment.
    """
    _, _, body = template.partition("\n\n")
    for key, value in values.items():
        body = _replaced(body, key, value)
    return f"{_comment(about)}\n\n{body}"


def _replaced(body: str, key: str, value: Any) -> str:
    section, _, name = key.rpartition(".")
    start = re.search(rf"(?m)^{re.escape(section)}:$", body) if section else None
    if section and start is None:
        raise ValueError(f"the template has no section {section}")
    begin = 0 if start is None else start.end()
    following = re.compile(r"(?m)^\S").search(body, begin + 1) if section else None
    end = len(body) if following is None else following.start()
    pattern = _KEY.format(indent="  " if section else "", name=re.escape(name))
    changed, count = re.subn(
        pattern, lambda found: f"{found['head']} {_yaml(value)}", body[begin:end], count=1
    )
    if count == 0:
        raise ValueError(f"the template has no key {key}")
    return body[:begin] + changed + body[end:]


def _yaml(value: Any) -> str:
    """A value in one line, texts in double quotes with escapes for what does not show."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    # JSON is YAML, but for what YAML does not take as it is, and for surrogate pairs.
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    shown = visible(character)
    if shown != character or character.isprintable():
        return shown
    point = ord(character)
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _comment(about: Iterable[str]) -> str:
    lines = [
        "# A job for this input. Look it through, then: rerank run -c THIS_FILE --dry-run",
        "#",
    ]
    for sentence in about:
        plain = visible(redacted(sentence))
        wrapped = textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += [f"# {'- ' if place == 0 else '  '}{line}" for place, line in enumerate(wrapped)]
    return "\n".join(lines)
