"""How a bi-encoder in the layout of sentence-transformers makes vectors and compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.checkpoints.sentence_transformers_files import (
    MODEL,
    MODULES,
    model_file,
    module_kinds,
)
from pipeline.checkpoints.values import yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Pooling modes by the keys that versions before 6 wrote, one of them true.
_OLD_MODES: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

#: Names of a document's prompt that the library's documentation has beside ``document``.
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How a bi-encoder makes a vector of a text's token states, and compares two of them.

    Attributes:
        pooling: the first token's state, or the mean of all.
        normalize: whether vectors have unit length, or are compared as if they had.
        include_prompt: whether the mean runs over the prompt's tokens as well.
    """

    pooling: Literal["cls", "mean"]
    normalize: bool
    include_prompt: bool


def embedding(checkpoint: Checkpoint) -> Embedding:
    """Of ``modules.json``, the modules' own files and the similarity of the model's file.

    Raises:
        ModelError: modules, a pooling or a similarity that are not Transformer, Pooling by first
            token or mean, Normalize, cosine and dot product.
    """
    kinds = module_kinds(checkpoint)
    where = checkpoint.folder / MODULES
    if list(kinds) not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelError(
            f"{where}: modules {', '.join(kinds) or 'none'}; the bi_encoder family runs "
            "Transformer, Pooling and, after them, Normalize"
        )
    pooling = checkpoint.table(f"{kinds['Pooling']}/config.json", required=True)
    normalized = "Normalize" in kinds
    if normalized:
        _refuse_other_features(checkpoint, f"{kinds['Normalize']}/config.json")
    model = model_file(checkpoint, "SentenceTransformer")
    if model.get("truncate_dim") is not None:
        raise ModelError(
            f"{checkpoint.folder / MODEL}: truncate_dim {model['truncate_dim']!r}; vectors are "
            "compared whole, so the scores would differ"
        )
    similarity = model.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise ModelError(
            f"{checkpoint.folder / MODEL}: similarity_fn_name {similarity!r}; the bi_encoder "
            "family scores by cosine and dot"
        )
    return Embedding(
        pooling=_pooling(checkpoint, f"{kinds['Pooling']}/config.json", pooling),
        normalize=normalized or similarity == "cosine",
        include_prompt=yes_or_no(
            pooling,
            "include_prompt",
            where=checkpoint.folder / kinds["Pooling"] / "config.json",
            default=True,
        ),
    )


def _pooling(checkpoint: Checkpoint, name: str, pooling: Mapping[str, Any]) -> Any:
    """The mode as the library reads it: one key since version 6, several that are true before."""
    stated = pooling.get("pooling_mode")
    if stated is None:
        stated = [mode for key, mode in _OLD_MODES.items() if pooling.get(key)] or ["mean"]
    modes = list(stated) if isinstance(stated, list) else [stated]
    known = {"embedding_dimension", "word_embedding_dimension", "include_prompt", "pooling_mode"}
    unknown = sorted(set(pooling) - known - set(_OLD_MODES))
    if unknown:
        raise ModelError(f"{checkpoint.folder / name}: unknown key '{unknown[0]}'")
    if modes not in (["cls"], ["mean"]):
        raise ModelError(
            f"{checkpoint.folder / name}: pooling {', '.join(map(str, modes))}; the bi_encoder "
            "family pools by exactly one of mean, cls"
        )
    return modes[0]


def _refuse_other_features(checkpoint: Checkpoint, name: str) -> None:
    """Normalize of something else than the text's vector is another network."""
    for key, value in checkpoint.table(name).items():
        if value != "sentence_embedding":
            raise ModelError(
                f"{checkpoint.folder / name}: {key} {value!r}; expected 'sentence_embedding'"
            )


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
