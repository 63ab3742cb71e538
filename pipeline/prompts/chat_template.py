"""A checkpoint's chat template, rendered a few times and taken as words around three places.

A chat template is a program (Jinja). It runs in Jinja's own sandbox, as in transformers, and never
on what is scored: it is rendered with marks for query, document and instruction, and then with
texts that programs treat in some special way, to prove that it does nothing but put texts into
their places. What does more is refused, and the settings can say the prompt instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.token_template import Part, Place, PromptTemplate, check_places

MessageFormat = Literal["flat", "structured"]

#: Signs of no script, which no template and no text has a word with.
_MARKS: Final = {
    Place.QUERY: "q\ue0a0q",
    Place.DOCUMENT: "d\ue0a1d",
    Place.INSTRUCTION: "i\ue0a2i",
}

#: Roles that sentence-transformers gives a pair's texts and its prompt (base/modality.py).
_ROLES: Final = {
    Place.INSTRUCTION: "system",
    Place.QUERY: "query",
    Place.DOCUMENT: "document",
}

#: Texts that templates are known to change, cut or ask for.
_PROBES: Final = (
    "",
    "a word",
    " \n spaces around \n\n",
    "\tA Title Of CAPITALS\r\n",
    "<think>\nno\n</think>\n\nyes",
    "<|im_end|>\n<|im_start|>assistant\n[INST]",
    "{{ messages }} {% if x %} {query} {# none #}",
    "quotes ' and \" and \\n & <b>bold</b> &amp;",
    "a\n\n\nb   c",
    "https://example.org/picture.png",
    "ünïcödé 漢字 🙂",
    "word " * 3000,
)


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """What a checkpoint says about its prompt.

    Attributes:
        source: the program.
        message_format: whether a message's content is a text or a list of parts.
        variables: what the program is given beside messages.
        where: its file, for messages.
    """

    source: str
    message_format: MessageFormat
    variables: Mapping[str, Any]
    where: str

    def prompt(self, *, instructed: bool) -> PromptTemplate:
        """The prompt with or without the place of an instruction, which is a system message.

        Raises:
            ModelError: the template does not render, or does more than putting texts in places.
        """
        render = _Renderer(self, instructed)
        template = render.found()
        stripped = [place for place in render.places if render.strips(template, place)]
        template = replace(template, stripped=frozenset(stripped))
        for number in range(len(_PROBES)):
            probes = {
                place: _PROBES[(number + shift) % len(_PROBES)]
                for shift, place in enumerate(render.places)
            }
            if instructed and not probes[Place.INSTRUCTION]:
                probes[Place.INSTRUCTION] = _MARKS[Place.INSTRUCTION]  # none is no message at all
            if render(probes) != _filled(template, probes):
                raise ModelError(
                    f"{self.where}: the chat template does more with a text than putting it in a "
                    f"place of its own, for example with {probes[Place.QUERY][:60]!r} as the "
                    f"query and {probes[Place.DOCUMENT][:60]!r} as the document; say the prompt "
                    "in model.settings.template"
                )
        return template


class _Renderer:
    """Renders a template with texts in their messages."""

    def __init__(self, chat: ChatTemplate, instructed: bool) -> None:
        self.chat = chat
        self.places = [place for place in _ROLES if instructed or place is not Place.INSTRUCTION]
        try:
            self._compiled = _environment().from_string(chat.source)
        except Exception as error:  # whatever a template of others raises
            raise self._refusal(error) from None

    def __call__(self, texts: Mapping[Place, str]) -> str:
        messages = [
            {"role": role, "content": self._content(texts[place])}
            for place, role in _ROLES.items()
            if place in self.places
        ]
        try:
            given = {"tools": None, "documents": None, "add_generation_prompt": False}
            text: str = self._compiled.render(given | dict(self.chat.variables), messages=messages)
        except Exception as error:  # whatever a template of others raises
            raise self._refusal(error) from None
        return text

    def _content(self, text: str) -> str | list[dict[str, str]]:
        if self.chat.message_format == "flat":
            return text
        return [{"type": "text", "text": text}]

    def _refusal(self, error: Exception) -> ModelError:
        said = (str(error).strip().splitlines() or ["no message"])[0]
        return ModelError(
            f"{self.chat.where}: the chat template does not render messages of the roles "
            f"{', '.join(_ROLES[place] for place in self.places)} ({type(error).__name__}: "
            f"{said}); say the prompt in model.settings.template"
        )

    def found(self) -> PromptTemplate:
        """The template with places where the marks came out."""
        marks = {_MARKS[place]: place for place in self.places}
        pattern = re.compile(f"({'|'.join(marks)})")
        pieces = pattern.split(self(_MARKS))
        part: Part = tuple(marks.get(piece, piece) for piece in pieces if piece)
        template = PromptTemplate(parts=(part,), joined=True)
        lost = [place for place in self.places if place not in template.places]
        if lost:
            raise ModelError(
                f"{self.chat.where}: the chat template leaves out the message of the role "
                f"{_ROLES[lost[0]]}, which holds the {lost[0].value}; say the prompt in "
                "model.settings.template"
            )
        try:
            check_places(template, where=self.chat.where)
        except ConfigurationError as error:
            raise ModelError(f"{error}; say the prompt in model.settings.template") from None
        return template

    def strips(self, template: PromptTemplate, place: Place) -> bool:
        """Whether the whitespace around a text is left out, as Jinja's ``trim`` does."""
        spaced = {**_MARKS, place: f" \n {_MARKS[place]} \n "}
        return self(spaced) == _filled(template, _MARKS)


def _filled(template: PromptTemplate, texts: Mapping[Place, str]) -> str:
    (part,) = template.parts
    pieces = []
    for one in part:
        if not isinstance(one, Place):
            pieces.append(one)
        else:
            pieces.append(texts[one].strip() if one in template.stripped else texts[one])
    return "".join(pieces)


def message_format(source: str, *, kind: str) -> MessageFormat:
    """What sentence-transformers makes of ``format: auto`` (base/modality.py of version 6.2).

    Args:
        source: the chat template.
        kind: ``model_type``.
    """
    if kind in ("apertus", "deepseek_v3", "gpt_oss", "seed_oss"):
        return "flat"
    signs = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
    return "structured" if any(sign in source for sign in signs) else "flat"


def _environment() -> Any:
    """Jinja as transformers sets it up for chat templates, without what differs from call to call.

    A template that asks for the date would score differently tomorrow.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **({"ensure_ascii": False} | options))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.filters.pop("random")
    environment.globals.pop("lipsum")
    environment.globals["raise_exception"] = raise_exception
    return environment
