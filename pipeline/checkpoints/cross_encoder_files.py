"""What a cross-encoder's files ask for beyond a network and a logit: taken, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.sentence_transformers_files import (
    MODEL,
    MODULES,
    model_file,
    module_kinds,
)
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Activations that keep the order of logits, by the name of torch's class.
_ACTIVATIONS: Final = ("Identity", "Sigmoid")


def check_cross_encoder(checkpoint: Checkpoint, *, activation_is_given: bool) -> None:
    """Refuse what a cross-encoder's files ask for beyond a network and a logit.

    Args:
        checkpoint: of a cross-encoder.
        activation_is_given: whether the settings say what is done to logits, whatever the
            checkpoint says.

    Raises:
        ModelError: prompts that are in use, further modules, an unknown activation.
    """
    model = model_file(checkpoint, "CrossEncoder")
    where = checkpoint.folder / MODEL
    default, named = model.get("default_prompt_name"), model.get("prompts")
    named = named if isinstance(named, Mapping) else {default: named}
    if default is not None and (not isinstance(default, str) or named.get(default)):
        raise ModelError(
            f"{where}: default_prompt_name '{default}' puts a prompt before every query, which "
            "the cross_encoder family does not; the scores would differ"
        )
    if checkpoint.json(MODULES) and list(module_kinds(checkpoint)) != ["Transformer"]:
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(module_kinds(checkpoint))}; the "
            "cross_encoder family runs a Transformer alone"
        )
    if activation_is_given:
        return
    inside = checkpoint.config.get("sentence_transformers")
    stated = inside.get("activation_fn") if isinstance(inside, Mapping) else inside
    for name, activation in (
        ("config.json: sentence_transformers.activation_fn", stated),
        (
            "config.json: sbert_ce_default_activation_function",
            checkpoint.config.get("sbert_ce_default_activation_function"),
        ),
        (f"{MODEL}: activation_fn", model.get("activation_fn")),
    ):
        package, _, kind = str(activation).rpartition(".")
        if activation is not None and not (
            kind in _ACTIVATIONS and package.partition(".")[0] == "torch"
        ):
            raise ModelError(
                f"{checkpoint.folder}/{name} '{activation}' is not understood and never imported; "
                f"known are torch's {', '.join(_ACTIVATIONS)}. Set model.settings.activation to "
                "score by logits (none) or probabilities (sigmoid) all the same"
            )
