"""What stands before queries and before documents, as sentence-transformers' files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.sentence_transformers_files import MODEL
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Names of a document's prompt that the library's documentation has beside ``document``.
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")


def prompts(checkpoint: Checkpoint, *, query: str | None, document: str | None) -> tuple[str, str]:
    """What stands before every query and before every document.

    The library's ``encode_query`` takes the prompt named ``query``, ``encode_document`` the one
    named ``document``; what is not there is nothing.

    Args:
        checkpoint: of a bi-encoder.
        query: as the settings say; None takes the checkpoint's.
        document: likewise.

    Raises:
        ModelError: the checkpoint has prompts and does not say which of them these are.
    """
    where = checkpoint.folder / MODEL
    model = checkpoint.table(MODEL)
    named = model.get("prompts") or {}
    if not isinstance(named, Mapping) or not all(
        text is None or _is_text(text) for text in named.values()
    ):
        raise ModelError(f"{where}: 'prompts' is no table of texts")
    found = {name: text for name, text in named.items() if text}
    default = model.get("default_prompt_name")
    if default is not None and default not in list(named):
        raise ModelError(f"{where}: default_prompt_name {default!r} is none of its prompts")
    # The library's plain encode() takes the default for both sides, its encode_query() for neither.
    for_all = default if default in found.keys() - {"query", *_DOCUMENT_PROMPTS} else None
    if query is None:
        if for_all and "query" not in found:
            raise _unclear(where, f"default_prompt_name '{for_all}'", "query_prefix")
        query = found.get("query", "")
    if document is None:
        others = [f"a prompt '{name}'" for name in _DOCUMENT_PROMPTS[1:] if name in found]
        others += [f"default_prompt_name '{for_all}'"] if for_all else []
        if others and "document" not in found:
            raise _unclear(where, f"{others[0]} and no prompt 'document'", "document_prefix")
        document = found.get("document", "")
    return query, document


def _is_text(value: object) -> bool:
    """JSON can hold half of a surrogate pair, which no tokenizer takes."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _unclear(where: object, what: str, setting: str) -> ModelError:
    return ModelError(
        f"{where}: {what}, which may or may not be meant here; set model.settings.{setting} to the "
        "text that comes before, or to an empty one"
    )
