"""What stands before queries and before documents, as sentence-transformers' files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.sentence_transformers.files import MODEL
from pipeline.checkpoints.values import is_text
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
    found, default = named_prompts(checkpoint)
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


def query_prompt(checkpoint: Checkpoint, *, given: str | None) -> str:
    """What a cross-encoder puts before every query, and before no document.

    The library's ``predict`` takes the prompt that ``default_prompt_name`` names, and none where
    it names none.

    Args:
        checkpoint: of a cross-encoder.
        given: as the settings say; None takes the checkpoint's.

    Raises:
        ModelError: the prompts are no texts, or the default is none of them.
    """
    found, default = named_prompts(checkpoint)
    if given is not None:
        return given
    return "" if default is None else found.get(default, "")


def named_prompts(checkpoint: Checkpoint) -> tuple[dict[str, str], str | None]:
    """The prompts that are not empty, and the name of the default one.

    Raises:
        ModelError: they are no texts, or there is none of that name.
    """
    where = checkpoint.folder / MODEL
    model = checkpoint.table(MODEL)
    named = model.get("prompts") or {}
    if not isinstance(named, Mapping) or not all(
        text is None or is_text(text) for text in named.values()
    ):
        raise ModelError(f"{where}: 'prompts' is no table of texts")
    default = model.get("default_prompt_name")
    if default is not None and default not in list(named):
        raise ModelError(f"{where}: default_prompt_name {default!r} is none of its prompts")
    return {name: text for name, text in named.items() if text}, default


def _unclear(where: object, what: str, setting: str) -> ModelError:
    return ModelError(
        f"{where}: {what}, which may or may not be meant here; set model.settings.{setting} to the "
        "text that comes before, or to an empty one"
    )
