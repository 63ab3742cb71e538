"""A tokenizer to which every text is text: it has no special and no added tokens to find in one.

The ``encode_special_tokens`` of the tokenizers library is not enough: it passes over added tokens
that are not special (``<think>``), and the model behind it may still know the token as a piece of
its vocabulary (Unigram finds ``<s>`` in a text, and in one that NFKC makes ``<s>``). So both go:
control tokens leave the list of added tokens, and their pieces get names that no text has. Ids
stay what they are, and so are those of all other texts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

SpecialTokens = Literal["upstream", "text"]

_META: Final = "\u2581"


class SpecialTokenSettings(Settings):
    """Settings of families that tokenise texts as their publishers do."""

    special_tokens: SpecialTokens = Field(
        "upstream",
        description="A special token that stands in a query, document, title, prefix or "
        "instruction: upstream: what the publisher's code makes of it, mostly the token itself, "
        "and a run counts the documents and queries that hold one; text: plain text. Only then can "
        "no text end its part of the prompt.",
    )


def plain_text_tokenizer(data: bytes, *, where: Path) -> Tokenizer:
    """The tokenizer without control tokens: all added tokens but whitespace that is not special.

    Args:
        data: of ``tokenizer.json``, which has been read as a tokenizer before.
        where: its path, for messages.

    Raises:
        ModelError: the text of a control token would still become that token.
    """
    from tokenizers import Tokenizer

    file = json.loads(data)
    added = file.get("added_tokens") or []
    control = [t for t in added if is_control(t["content"], special=t["special"])]
    kept = [t for t in added if not is_control(t["content"], special=t["special"])]
    hidden = {token["content"]: _hidden(token["content"]) for token in control}
    file.update(added_tokens=kept, post_processor=None, truncation=None, padding=None)
    _rename(file["model"], hidden, kept)
    try:
        library = Tokenizer.from_buffer(json.dumps(file).encode())
    except Exception as error:  # the library raises bare Exception for any defect
        raise ModelError(
            f"{where}: not readable as a tokenizer without its added tokens ({error}), so special "
            "tokens cannot be text; use the published file"
        ) from None
    _check(library, control, kept, where=where)
    return library


def is_control(content: str, *, special: bool) -> bool:
    """Whether an added token is more than a piece of text; ``special`` is what its file says."""
    # Runs of spaces and breaks are how some tokenizers spell whitespace; they mean nothing else.
    whitespace = not content.replace(_META, " ").strip()
    return special or not whitespace


def _hidden(content: str) -> str:
    """A name that no text has: tokenizers cut at spaces or write them otherwise, see _check."""
    return f" {content}"


def _rename(model: dict[str, Any], hidden: dict[str, str], kept: list[dict[str, Any]]) -> None:
    """Give the pieces of control tokens their hidden names, in place; ids stay."""
    if isinstance(model["vocab"], list):  # Unigram: pieces with scores, by id
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
        return
    # Added tokens outside the vocabulary are numbered in order, so those kept would move up.
    vocabulary = {token["content"]: token["id"] for token in kept} | model["vocab"]
    model["vocab"] = {hidden.get(piece, piece): place for piece, place in vocabulary.items()}
    if model.get("unk_token") in hidden:
        model["unk_token"] = hidden[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _makes(pair, hidden)]


def _makes(pair: str | list[str], hidden: dict[str, str]) -> bool:
    """Whether a merge of BPE makes a control token, or makes something of one."""
    first, second = pair.split(" ") if isinstance(pair, str) else pair
    return any(piece in hidden for piece in (first, second, first + second))


def _check(
    library: Tokenizer,
    control: list[dict[str, Any]],
    kept: list[dict[str, Any]],
    *,
    where: Path,
) -> None:
    """Prove that kept tokens have their ids, and that no text yields a control token's.

    A piece is found inside what normaliser and splitter leave of a text, so a name that they never
    leave whole is out of reach. The unknown token is what characters become that the model lacks.
    """
    moved = [t["content"] for t in kept if library.token_to_id(t["content"]) != t["id"]]
    reached = [token["content"] for token in control if _reaches(library, token)]
    for content in [*moved, *reached]:
        raise ModelError(
            f"{where}: the text {content!r} cannot be told from the added token {content!r} in "
            "this tokenizer, so special tokens cannot be text; use the published file, or "
            "model.settings.special_tokens: upstream where the family has that setting"
        )


def _reaches(library: Tokenizer, token: dict[str, Any]) -> bool:
    content, name = token["content"], _hidden(token["content"])
    text = f"a{name} {content}b"
    normal = library.normalizer.normalize_str(text) if library.normalizer else text
    pieces = [normal]
    if library.pre_tokenizer:
        pieces = [piece for piece, _ in library.pre_tokenizer.pre_tokenize_str(normal)]
    if any(name in piece for piece in pieces):
        return True
    found = library.encode(text, add_special_tokens=False).ids
    return token["id"] in found and token["id"] != unknown_id(library)


def unknown_id(library: Tokenizer) -> int | None:
    """The id of what characters become that the model lacks; None where there is none."""
    model = library.model
    name: str | None = getattr(model, "unk_token", None)
    place: int | None = library.token_to_id(name) if name else getattr(model, "unk_id", None)
    return place
