"""How a late-interaction model of PyLate or sentence-transformers makes vectors of tokens.

Both save ``modules.json`` and ``config_sentence_transformers.json``. PyLate (``model_type``
"ColBERT", or none in its first versions) keeps markers, lengths, expansion and skip list in the
latter, and its modules are the network and Dense layers; sentence-transformers 6
("MultiVectorEncoder") keeps them in the modules' own files. Either is read as
``MultiVectorEncoder`` of 6.2 reads it (multi_vector_encoder/model.py, ``_parse_model_config``);
what a PyLate file leaves out is what PyLate has for it (pylate/models/colbert.py).
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.sentence_transformers.files import MODEL
from pipeline.checkpoints.sentence_transformers.module_chain import MODULES, Dense, Module, modules
from pipeline.checkpoints.sentence_transformers.multi_vector_parts import (
    SHORTEST,
    TOKENS,
    Expansion,
    Similarity,
    of_transformer,
    require_chain,
    skip_words,
    token_layers,
    token_similarity,
)
from pipeline.checkpoints.sentence_transformers.prompts import named_prompts
from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Keys of the Transformer's file that are read here.
TRANSFORMER_KEYS: Final = ("query_length", "document_length", "query_expansion")

#: Keys that PyLate writes into the model's file.
_PYLATE: Final = (
    "query_prefix",
    "document_prefix",
    "query_length",
    "document_length",
    "do_query_expansion",
    "attend_to_expansion_tokens",
    "attend_to_mask_tokens",
    "skiplist_words",
)

#: Whether a query's tokens attend to what fills it, in PyLate's words and in colbert-ai's.
_ATTENDED: Final = ("attend_to_expansion_tokens", "attend_to_mask_tokens")


@dataclass(frozen=True, kw_only=True)
class Side:
    """How queries, or documents, are read.

    Attributes:
        marker: text of a token behind the first one; empty where there is none.
        prompt: text before every text; that named ``query`` or ``document``, as 6.2 takes no other.
        length: tokens at most; None: as many as the network takes.
        skips: whether tokens on the skip list give no vector.
    """

    marker: str
    prompt: str
    length: int | None
    skips: bool


@dataclass(frozen=True, kw_only=True)
class MultiVector:
    """How a checkpoint makes vectors of tokens, and compares them.

    Attributes:
        query: how queries are read.
        document: how documents are.
        expansion: what fills queries; None: nothing.
        skipped: words of the skip list.
        kept: ids of the only tokens of a document that give vectors; None: all.
        layers: what the network's states go through.
        normalize: whether vectors have unit length.
        similarity: MaxSim, or MaxSim divided by the number of the query's vectors.
    """

    query: Side
    document: Side
    expansion: Expansion | None
    skipped: tuple[str, ...]
    kept: tuple[int, ...] | None
    layers: tuple[Dense, ...]
    normalize: bool
    similarity: Similarity


def multi_vector_layout(checkpoint: Checkpoint) -> str | None:
    """What in a checkpoint's files says that it is one of these; None where nothing does."""
    model = checkpoint.table(MODEL)
    kind = model.get("model_type")
    if kind in ("ColBERT", "MultiVectorEncoder"):
        return f"{MODEL}: model_type {kind}"
    listed = checkpoint.json(MODULES)
    listed = listed if isinstance(listed, list) else []
    kinds = [str(one.get("type")) for one in listed if isinstance(one, Mapping)]
    if any(name.startswith("pylate.") for name in kinds):
        return f"{MODULES}: modules of PyLate"
    if kind is None and kinds and {"query_prefix", "document_prefix"} <= set(model):
        return f"{MODEL}: query_prefix and document_prefix, as PyLate writes them"
    return None


def multi_vector(checkpoint: Checkpoint) -> MultiVector:
    """Of a checkpoint in one of the two layouts.

    Raises:
        ModelError: a module, key or value that is not understood and would change scores.
    """
    chain = modules(checkpoint)
    if checkpoint.table(MODEL).get("model_type") == "MultiVectorEncoder":
        made = _saved_by_library(checkpoint, chain)
    else:
        made = _saved_by_pylate(checkpoint, chain)
    filled, limit = made.expansion, made.query.length
    if filled is not None and limit is not None and limit < filled.length:
        raise ModelError(
            f"{checkpoint.folder}: query_length {limit} is less than the {filled.length} tokens "
            "that query_expansion fills queries to"
        )
    return made


def _saved_by_pylate(checkpoint: Checkpoint, chain: tuple[Module, ...]) -> MultiVector:
    model, where = checkpoint.table(MODEL), checkpoint.folder / MODEL
    require_chain(checkpoint, chain, {"Dense"})
    if "query_expansion" in model:
        raise ModelError(
            f"{where}: 'query_expansion' belongs to sentence-transformers' layout, and here to the "
            "Transformer's file; say it there, or in PyLate's words (do_query_expansion)"
        )
    length = whole_number(model, "query_length", where=where, default=32, least=SHORTEST)
    told = whole_number(model, "document_length", where=where, default=180, least=SHORTEST)
    expansion = None
    if yes_or_no(model, "do_query_expansion", where=where, default=True):
        key = next((key for key in _ATTENDED if key in model), _ATTENDED[0])
        attended = yes_or_no(model, key, where=where, default=False)
        expansion = Expansion(length=length, cuts=True, attended=attended, token=None)
    prompts, default = named_prompts(checkpoint)
    if default in prompts:
        raise ModelError(
            f"{where}: default_prompt_name {default!r}, which PyLate puts before every text and "
            "sentence-transformers before none; set it to null, and the prompts 'query' and "
            "'document' to what belongs there"
        )
    stated = of_transformer(checkpoint, None if expansion else length, told, expansion)
    query, document = (
        "[Q] " if model.get("query_prefix") is None else str(model["query_prefix"]),
        "[D] " if model.get("document_prefix") is None else str(model["document_prefix"]),
    )
    return MultiVector(
        query=Side(
            marker=query,
            prompt=prompts.get("query", "").removeprefix(query),
            length=stated.query,
            skips=False,
        ),
        document=Side(
            marker=document,
            prompt=prompts.get("document", "").removeprefix(document),
            length=stated.document,
            skips=True,
        ),
        expansion=stated.expansion,
        skipped=skip_words(model, where, default=tuple(string.punctuation)),
        kept=None,
        layers=token_layers(checkpoint, chain),
        normalize=True,
        similarity=token_similarity(model, where),
    )


def _saved_by_library(checkpoint: Checkpoint, chain: tuple[Module, ...]) -> MultiVector:
    model, where = checkpoint.table(MODEL), checkpoint.folder / MODEL
    old = sorted(set(_PYLATE) & set(model))
    if old:
        raise ModelError(
            f"{where}: '{old[0]}' belongs to PyLate's layout and model_type to that of "
            "sentence-transformers; save the model with one of them"
        )
    require_chain(checkpoint, chain, {"Dense", "MultiVectorMask", "Normalize"})
    folders = {module.kind: module.folder for module in chain}
    stated = of_transformer(checkpoint, None, None, None)
    masked, mask = checkpoint.folder / MODULES, {}
    if "MultiVectorMask" in folders:
        masked = checkpoint.folder / folders["MultiVectorMask"] / "config.json"
        mask = checkpoint.table(f"{folders['MultiVectorMask']}/config.json", required=True)
    elif stated.expansion is not None:
        raise ModelError(
            f"{masked}: no MultiVectorMask beside a query_expansion, so that what fills a query "
            "gives no vector; add the module, or take the expansion away"
        )
    unknown = sorted(set(mask) - {"skiplist_words", "skiplist_tasks", "keep_only_token_ids"})
    if unknown:
        raise ModelError(f"{masked}: unknown key '{unknown[0]}'")
    tasks, (prompts, _) = mask.get("skiplist_tasks") or ["document"], named_prompts(checkpoint)
    kept = mask.get("keep_only_token_ids") or []
    if not isinstance(kept, list) or any(type(number) is not int for number in kept):
        raise ModelError(f"{masked}: keep_only_token_ids {kept!r}; expected a list of ids")
    for key, value in checkpoint.table(f"{folders.get('Normalize', '')}/config.json").items():
        if "Normalize" in folders and value != TOKENS:
            raise ModelError(
                f"{checkpoint.folder / folders['Normalize']}/config.json: {key} {value!r}; "
                f"expected '{TOKENS}'"
            )
    return MultiVector(
        query=Side(
            marker="", prompt=prompts.get("query", ""), length=stated.query, skips="query" in tasks
        ),
        document=Side(
            marker="",
            prompt=prompts.get("document", ""),
            length=stated.document,
            skips="document" in tasks,
        ),
        expansion=stated.expansion,
        skipped=skip_words(mask, masked, default=()),
        kept=tuple(kept) or None,
        layers=token_layers(checkpoint, chain),
        normalize="Normalize" in folders,
        similarity=token_similarity(model, where),
    )
