"""What a cross-encoder's files ask for beyond a network and its logits: taken, or refused by name.

As sentence-transformers 6.2 reads them (cross_encoder/model.py), whichever version wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.heads import Activated
from pipeline.checkpoints.sentence_transformers.files import MODEL, model_file
from pipeline.checkpoints.sentence_transformers.module_chain import (
    MODULES,
    Dense,
    LayerNorm,
    layers,
    modules,
)
from pipeline.checkpoints.sentence_transformers.pooling import Mode, pooling
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Activations that keep the order of logits, by the name of torch's class.
_ACTIVATIONS: Final[dict[str, Activated]] = {
    "Identity": "none",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}

#: The feature that the last module of a chain writes.
SCORES: Final = "scores"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A head of modules behind the body of a network.

    Attributes:
        pooling: modes whose vectors stand side by side.
        include_prompt: whether they look at the prompt's tokens as well.
        layers: what makes logits of the pooled vector, in order.
    """

    pooling: tuple[Mode, ...]
    include_prompt: bool
    layers: tuple[Dense | LayerNorm, ...]

    @property
    def labels(self) -> int:
        """Logits of a sequence."""
        last = self.layers[-1]
        return last.outputs if isinstance(last, Dense) else last.width


def chain_of(checkpoint: Checkpoint) -> Chain | None:
    """The modules behind a body; None for a network of transformers with its own head.

    Raises:
        ModelError: modules other than Transformer, Pooling and after it Dense and LayerNorm, of
            which the last is a Dense that writes ``scores``; sizes that do not fit.
    """
    found = modules(checkpoint)
    kinds = [module.kind for module in found]
    if not found or kinds == ["Transformer"]:
        return None
    where = checkpoint.folder / MODULES
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[-1] != "Dense":
        raise ModelError(
            f"{where}: modules {', '.join(kinds)}; the cross_encoder family runs a Transformer "
            "alone, or Transformer, Pooling, Dense and LayerNorm with a Dense at the end"
        )
    pooled = pooling(checkpoint, found[1])
    hidden = checkpoint.config.get("hidden_size", checkpoint.config.get("dim"))
    if hidden not in (None, pooled.width):
        raise ModelError(
            f"{checkpoint.folder / found[1].folder / 'config.json'}: pools {pooled.width} numbers; "
            f"the network of config.json gives {hidden}"
        )
    chain = layers(checkpoint, found[2:], width=pooled.width * len(pooled.modes))
    last = chain[-1]
    if isinstance(last, Dense) and last.writes != SCORES:
        raise ModelError(
            f"{checkpoint.folder / last.folder / 'config.json'}: module_output_name "
            f"'{last.writes}'; expected '{SCORES}' of the last module"
        )
    return Chain(pooling=pooled.modes, include_prompt=pooled.include_prompt, layers=chain)


def stated_activation(checkpoint: Checkpoint, *, labels: int) -> Activated:
    """What the library applies to logits by the checkpoint's files; its default where they say no.

    Of several places the first counts: ``activation_fn`` of config_sentence_transformers.json, that
    of config.json's ``sentence_transformers``, then ``sbert_ce_default_activation_function``.

    Raises:
        ModelError: a place names another activation, or one over each of several labels.
    """
    stated = [(name, _understood(checkpoint, name, path)) for name, path in _named(checkpoint)]
    if not stated:
        return "sigmoid" if labels == 1 else "none"
    name, activation = stated[0]
    if labels > 1 and activation != "none":
        raise ModelError(
            f"{checkpoint.folder}/{name}: {activation} of each of {labels} labels, of which no one "
            "score is made. Set model.settings.activation to score by log-odds (none) or their "
            "sigmoid (sigmoid) all the same"
        )
    return activation


def _named(checkpoint: Checkpoint) -> Iterator[tuple[str, object]]:
    """Where the files name an activation, and how."""
    inside = checkpoint.config.get("sentence_transformers")
    stated = inside.get("activation_fn") if isinstance(inside, Mapping) else inside
    old = "sbert_ce_default_activation_function"
    for name, activation in (
        (f"{MODEL}: activation_fn", model_file(checkpoint, "CrossEncoder").get("activation_fn")),
        ("config.json: sentence_transformers.activation_fn", stated),
        (f"config.json: {old}", checkpoint.config.get(old)),
    ):
        if activation is not None:
            yield name, activation


def _understood(checkpoint: Checkpoint, name: str, activation: object) -> Activated:
    package, _, kind = str(activation).rpartition(".")
    if kind not in _ACTIVATIONS or package.partition(".")[0] != "torch":
        raise ModelError(
            f"{checkpoint.folder}/{name} '{activation}' is not understood and never imported; "
            f"known are torch's {', '.join(_ACTIVATIONS)}. Set model.settings.activation to "
            "score by logits (none) or probabilities (sigmoid) all the same"
        )
    return _ACTIVATIONS[kind]


def applied_activation(
    checkpoint: Checkpoint, asked: str, *, labels: int, given: bool
) -> Activated:
    """What becomes of logits.

    Args:
        checkpoint: of a cross-encoder.
        asked: ``none``, ``sigmoid`` or ``checkpoint``, by the settings.
        labels: of the head.
        given: whether the settings say so themselves, whatever the checkpoint says.

    Raises:
        ModelError: the checkpoint names one that is not understood, and nothing else is given; or
            it is no cross-encoder.
    """
    model_file(checkpoint, "CrossEncoder")
    if given and asked != "checkpoint":
        return "sigmoid" if asked == "sigmoid" else "none"
    stated = stated_activation(checkpoint, labels=labels)
    return stated if asked == "checkpoint" else "none"
