"""How a bi-encoder in the layout of sentence-transformers makes vectors and compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pipeline.checkpoints.sentence_transformers.files import MODEL, model_file
from pipeline.checkpoints.sentence_transformers.module_chain import (
    MODULES,
    TEXT_VECTOR,
    Dense,
    LayerNorm,
    Module,
    layers,
    modules,
)
from pipeline.checkpoints.sentence_transformers.pooling import Mode, pooling
from pipeline.checkpoints.values import whole_number
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Modules after Pooling.
_STEPS: Final = ("Dense", "LayerNorm", "Normalize")

Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
_SIMILARITIES: Final[tuple[Similarity, ...]] = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """A vector is brought to unit length."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How a bi-encoder makes a vector of a text's token states, and compares two of them.

    Attributes:
        pooling: modes whose vectors stand side by side.
        include_prompt: whether pooling looks at the prompt's tokens as well.
        steps: what becomes of the pooled vector, in order.
        width: numbers of the vector that is compared.
        similarity: of two vectors; distances are negated, so that more is nearer.
        unit: whether the vectors that are compared have unit length, or are brought to it.
    """

    pooling: tuple[Mode, ...]
    include_prompt: bool
    steps: tuple[Dense | LayerNorm | Normalize, ...]
    width: int
    similarity: Similarity
    unit: bool

    @property
    def score_scale(self) -> Similarity:
        """What a score is: dot products of vectors of unit length are cosines."""
        return "cosine" if self.similarity == "dot" and self.unit else self.similarity


def embedding(checkpoint: Checkpoint) -> Embedding:
    """Of ``modules.json``, the modules' own files and the similarity of the model's file.

    Raises:
        ModelError: modules other than Transformer, Pooling and after them Dense, LayerNorm and
            Normalize; a pooling or a similarity that is not known; sizes that do not fit.
    """
    found = modules(checkpoint)
    kinds = [module.kind for module in found]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(_STEPS):
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(kinds) or 'none'}; the bi_encoder "
            f"family runs Transformer, Pooling and, after them, {', '.join(_STEPS)}"
        )
    pooled = pooling(checkpoint, found[1])
    steps, width = _steps(checkpoint, found[2:], width=pooled.width * len(pooled.modes))
    model = model_file(checkpoint, "SentenceTransformer")
    similarity = model.get("similarity_fn_name") or "cosine"
    if similarity not in _SIMILARITIES:
        raise ModelError(
            f"{checkpoint.folder / MODEL}: similarity_fn_name {similarity!r}; the bi_encoder "
            f"family scores by {', '.join(_SIMILARITIES)}"
        )
    compared = width
    if model.get("truncate_dim") is not None:
        cut = whole_number(model, "truncate_dim", where=checkpoint.folder / MODEL)
        compared = min(width, cut)
    normalized = bool(steps) and isinstance(steps[-1], Normalize) and compared == width
    return Embedding(
        pooling=pooled.modes,
        include_prompt=pooled.include_prompt,
        steps=steps,
        width=compared,
        similarity=similarity,
        unit=normalized or similarity == "cosine",
    )


def _steps(
    checkpoint: Checkpoint, chain: tuple[Module, ...], *, width: int
) -> tuple[tuple[Dense | LayerNorm | Normalize, ...], int]:
    """What stands after Pooling, and the numbers of a vector after it.

    Args:
        checkpoint: whose modules they are.
        chain: the modules, in order.
        width: numbers of the pooled vector.
    """
    steps: list[Dense | LayerNorm | Normalize] = []
    for module in chain:
        if module.kind == "Normalize":
            _refuse_other_features(checkpoint, f"{module.folder}/config.json")
            steps.append(Normalize())
            continue
        (layer,) = layers(checkpoint, [module], width=width)
        if isinstance(layer, Dense):
            width = layer.outputs
            if layer.writes != TEXT_VECTOR:
                raise ModelError(
                    f"{checkpoint.folder / module.folder / 'config.json'}: module_output_name "
                    f"'{layer.writes}'; expected '{TEXT_VECTOR}', which is compared"
                )
        steps.append(layer)
    return tuple(steps), width


def _refuse_other_features(checkpoint: Checkpoint, name: str) -> None:
    """Normalize of something else than the text's vector is another network."""
    for key, value in checkpoint.table(name).items():
        if value != TEXT_VECTOR:
            raise ModelError(
                f"{checkpoint.folder / name}: {key} {value!r}; expected '{TEXT_VECTOR}'"
            )
