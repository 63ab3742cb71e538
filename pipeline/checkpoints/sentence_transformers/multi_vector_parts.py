"""What the files of late-interaction models of PyLate and sentence-transformers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.checkpoints.sentence_transformers.files import transformer_file
from pipeline.checkpoints.sentence_transformers.module_chain import (
    MODULES,
    Dense,
    Module,
    dense,
    layers,
)
from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: The feature that every module reads and writes.
TOKENS: Final = "token_embeddings"

#: Tokens that a text has with its special ones and its marker, and one of its own.
SHORTEST: Final = 4
Similarity = Literal["maxsim", "meanmaxsim"]


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """Tokens that fill a query.

    Attributes:
        length: tokens of a query with them, at least.
        cuts: whether longer queries are cut to that length.
        attended: whether other tokens attend to them.
        token: text of the token; None: the tokenizer's mask, else its end of sequence.
    """

    length: int
    cuts: bool
    attended: bool
    token: str | None


def require_chain(checkpoint: Checkpoint, chain: tuple[Module, ...], known: set[str]) -> None:
    """Refuse modules that are not ``known`` behind the Transformer, or come twice or too late.

    Raises:
        ModelError: names all modules.
    """
    kinds = [module.kind for module in chain]
    others = [kind for kind in kinds[1:] if kind not in known]
    repeated = [kind for kind in kinds if kind != "Dense" and kinds.count(kind) > 1]
    late = "Normalize" in kinds and "Dense" in kinds[kinds.index("Normalize") :]
    if kinds[:1] != ["Transformer"] or others or repeated or late:
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(kinds) or 'none'}; the "
            f"late_interaction family runs a Transformer and after it {', '.join(sorted(known))}"
        )


def token_layers(checkpoint: Checkpoint, chain: tuple[Module, ...]) -> tuple[Dense, ...]:
    """The Dense modules, in order, checked to fit each other; other modules are passed over.

    Raises:
        ModelError: they read or write something else than token vectors, or do not fit.
    """
    given = [module for module in chain if module.kind == "Dense"]
    if not given:
        return ()
    width = dense(checkpoint, given[0], reads=TOKENS).inputs
    found = layers(checkpoint, given, width=width, feature=TOKENS)
    made = tuple(layer for layer in found if isinstance(layer, Dense))
    if made[-1].writes != TOKENS:
        raise ModelError(
            f"{checkpoint.folder / made[-1].folder}/config.json: module_output_name "
            f"'{made[-1].writes}'; expected '{TOKENS}', which is compared"
        )
    return made


@dataclass(frozen=True, kw_only=True)
class OfTransformer:
    """Tokens of a query and of a document at most, and what fills queries; None: nothing said."""

    query: int | None
    document: int | None
    expansion: Expansion | None


def of_transformer(
    checkpoint: Checkpoint, query: int | None, document: int | None, expansion: Expansion | None
) -> OfTransformer:
    """Lengths and expansion of the Transformer's file, which win over those given.

    Raises:
        ModelError: one of them is not what it must be.
    """
    config, where = transformer_file(checkpoint)
    if config.get("query_length") is not None:
        query = whole_number(config, "query_length", where=where, least=SHORTEST)
    if config.get("document_length") is not None:
        document = whole_number(config, "document_length", where=where, least=SHORTEST)
    if "query_expansion" in config:
        expansion = _expansion(config["query_expansion"], where)
    return OfTransformer(query=query, document=document, expansion=expansion)


def _expansion(stated: Any, where: Path) -> Expansion | None:
    if stated is None:
        return None
    known = {"strategy", "attend", "token", "length"}
    if not isinstance(stated, Mapping) or not set(stated) <= known:
        raise ModelError(
            f"{where}: query_expansion {stated!r}; expected {', '.join(sorted(known))}"
        )
    strategy, token = stated.get("strategy"), stated.get("token")
    if strategy not in ("fixed", "min"):
        raise ModelError(f"{where}: query_expansion.strategy {strategy!r}; expected fixed or min")
    return Expansion(
        length=whole_number(stated, "length", where=where, least=SHORTEST),
        cuts=strategy == "fixed",
        attended=yes_or_no(stated, "attend", where=where, default=False),
        token=None if token is None else str(token),
    )


def skip_words(
    table: Mapping[str, Any], where: Path, *, default: tuple[str, ...]
) -> tuple[str, ...]:
    """The words of a skip list; ``default`` where the file has none.

    Raises:
        ModelError: it is no list of words.
    """
    words = table.get("skiplist_words")
    if words is None:
        return default
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ModelError(f"{where}: skiplist_words {words!r}; expected a list of words")
    return tuple(words)


def token_similarity(model: Mapping[str, Any], where: Path) -> Similarity:
    """MaxSim where nothing is said; PyLate writes it with capitals.

    Raises:
        ModelError: it is another similarity.
    """
    stated = str(model.get("similarity_fn_name") or "maxsim").lower()
    if stated == "maxsim":
        return "maxsim"
    if stated == "meanmaxsim":
        return "meanmaxsim"
    raise ModelError(
        f"{where}: similarity_fn_name {model['similarity_fn_name']!r}; the late_interaction family "
        "scores by maxsim and meanmaxsim"
    )
