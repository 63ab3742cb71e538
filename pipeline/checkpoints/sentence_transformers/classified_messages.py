"""Whether a classifier reads its pairs as messages of a chat template, by its files.

As sentence-transformers 6.2 reads them (base/modules/transformer.py), but for one thing: a folder
that transformers saved has the chat template of the language model that it began as, which the
library takes for the prompt of pairs where it renders the roles ``query`` and ``document`` by
chance. Here it has to name them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline.checkpoints.sentence_transformers.files import TRANSFORMER
from pipeline.checkpoints.sentence_transformers.logit_score import (
    MessageFormat,
    chat_template,
    read_transformer,
)
from pipeline.checkpoints.sentence_transformers.module_chain import modules
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

_ROLES: Final = tuple(re.compile(rf"""['"]{role}['"]""") for role in ("query", "document"))


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What makes a prompt of a pair.

    Attributes:
        source: the chat template.
        where: its file, for messages.
        message_format: flat, structured or auto.
        variables: what the template is given.
        max_length: tokens of a sequence, where the files limit them.
    """

    source: str
    where: str
    message_format: MessageFormat = "auto"
    variables: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None


def messages_of(checkpoint: Checkpoint) -> Messages | None:
    """The chat template that pairs are rendered with; None where they are a tokenizer's pair.

    Raises:
        ModelError: the files ask for one that is not there, or for what is not understood.
    """
    saved = bool(modules(checkpoint))
    modality = checkpoint.table(TRANSFORMER).get("modality_config")
    if saved and not (isinstance(modality, Mapping) and "message" in modality):
        return None
    found = chat_template(checkpoint)
    if not saved:
        if found is None or not all(role.search(found[0]) for role in _ROLES):
            return None
        return Messages(source=found[0], where=found[1])
    if found is None:
        raise ModelError(
            f"{checkpoint.folder / TRANSFORMER}: modality_config names messages, but there is no "
            "chat_template.jinja, and no chat_template in tokenizer_config.json; say the prompt in "
            "model.settings.template"
        )
    limit, form, variables = read_transformer(checkpoint, task="sequence-classification")
    return Messages(
        source=found[0],
        where=found[1],
        message_format=form,
        variables=variables,
        max_length=limit,
    )
