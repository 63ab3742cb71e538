"""Prompts of rerankers that answer with a token, as data: words around a query and a document.

Two ways of making ids of a prompt are published, which differ where words and texts meet:

- in parts that are tokenised apart from each other, as vendors' code does that budgets each part;
- as one text, as everything does that renders a chat template first.

A special token ends what is tokenised together in both, as the tokenizers library has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int32s
    from pipeline.tokenization.tokens import TextTokenizer


class Place(Enum):
    """What stands in a template for what is scored."""

    QUERY = "query"
    DOCUMENT = "document"
    INSTRUCTION = "instruction"


#: Words of the prompt, and places in it.
Part = tuple[str | Place, ...]

_TEXTS: Final = (Place.QUERY, Place.DOCUMENT)

_PLACES: Final = re.compile(r"\{(query|document|instruction)\}")


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """A prompt with its places.

    Attributes:
        parts: in order; each is tokenised apart from its neighbours.
        joined: whether there is one part, a text of which words are never cut. Otherwise a part
            with a text in it is cut as a whole, at its end, with its own words.
        stripped: places whose texts lose the whitespace around them.
    """

    parts: tuple[Part, ...]
    joined: bool
    stripped: frozenset[Place] = frozenset()

    @property
    def places(self) -> list[Place]:
        """In order."""
        return [one for part in self.parts for one in part if isinstance(one, Place)]

    @property
    def texts(self) -> tuple[Place, Place]:
        """Query and document, in the order in which they are read."""
        first, second = (place for place in self.places if place in _TEXTS)
        return first, second


def template_of(given: str | Sequence[str], *, setting: str) -> PromptTemplate:
    """A template from a setting: one text, or a list of parts that are tokenised apart.

    Args:
        given: with ``{query}``, ``{document}`` and, perhaps, ``{instruction}`` in it.
        setting: its name, for messages.

    Raises:
        ConfigurationError: a place is missing or there twice, or a part has both texts.
    """
    joined = isinstance(given, str)
    texts = [given] if isinstance(given, str) else given
    template = PromptTemplate(parts=tuple(map(_part, texts)), joined=joined)
    check_places(template, where=setting)
    if not joined and any(sum(one in _TEXTS for one in part) > 1 for part in template.parts):
        raise ConfigurationError(
            f"{setting}: a part of the list has {{query}} and {{document}}, expected one of them, "
            "as a part is cut as a whole; give one text instead of a list where all of it is "
            "tokenised together"
        )
    return template


def check_places(template: PromptTemplate, *, where: str) -> None:
    """Refuse a template that is no prompt for one query and one document.

    Raises:
        ConfigurationError: names the place.
    """
    for place in Place:
        count, needed = template.places.count(place), place in _TEXTS
        if count > 1 or (needed and not count):
            raise ConfigurationError(
                f"{where}: {{{place.value}}} is there {count} times, expected "
                f"{'once' if needed else 'once or not at all'}"
            )


def _part(text: str) -> Part:
    # Names of places are at the odd indexes of what a pattern with a group splits.
    pieces = enumerate(_PLACES.split(text))
    found = [Place(piece) if index % 2 else piece for index, piece in pieces]
    return tuple(one for one in found if one != "")


@dataclass(frozen=True)
class Run:
    """Words and texts without a special token between them: what is tokenised together.

    Attributes:
        words: before, between and behind the texts; one more than there are texts.
        texts: one or both.
    """

    words: tuple[str, ...]
    texts: tuple[Place, ...]


def items(
    part: Part, tokenizer: TextTokenizer, instruction: str, *, where: str
) -> Iterator[Int32s | Run]:
    """Fixed ids and runs of a part, in order.

    Args:
        part: of a template.
        tokenizer: of the model.
        instruction: what stands in the place of one; no special token is found in it where the
            tokenizer takes them in texts for text.
        where: the template, for messages.

    Raises:
        ConfigurationError: a special token of the template takes spaces of its neighbours.
    """
    pattern = _special_tokens(part, tokenizer, where)
    run: list[str | Place] = []
    for one in part:
        pieces = pattern.split(one) if pattern and isinstance(one, str) else [one]
        for index, piece in enumerate(pieces):
            if index % 2:
                yield from _closed(run, tokenizer, instruction)
                run = []
                yield tokenizer.words([str(piece)]).token_ids
            elif piece != "":
                run.append(piece)
    yield from _closed(run, tokenizer, instruction)


def _closed(
    run: list[str | Place], tokenizer: TextTokenizer, instruction: str
) -> Iterator[Int32s | Run]:
    if not run:
        return
    words, texts = [""], []
    for one in run:
        if one in _TEXTS:
            assert isinstance(one, Place)
            texts.append(one)
            words.append("")
        else:
            words[-1] += instruction if isinstance(one, Place) else one
    if texts:
        yield Run(tuple(words), tuple(texts))
    elif words[0]:
        yield tokenizer.encode(words).token_ids


def _special_tokens(part: Part, tokenizer: TextTokenizer, where: str) -> re.Pattern[str] | None:
    """What finds the added tokens of a part's words, the longest first as the library does."""
    words = "\0".join(one for one in part if isinstance(one, str))
    added = tokenizer.library.get_added_tokens_decoder().values()
    found = [t for t in added if t.content.strip() and t.content in words]
    for token in found:
        if token.lstrip or token.rstrip or token.single_word:
            raise ConfigurationError(
                f"{where}: the token '{token.content}' takes spaces of its neighbours, so what is "
                "tokenised together depends on the texts; this is not supported"
            )
    contents = sorted((re.escape(t.content) for t in found), key=len, reverse=True)
    return re.compile(f"({'|'.join(contents)})") if contents else None
