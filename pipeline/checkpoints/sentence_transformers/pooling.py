"""The Pooling module of sentence-transformers, as its file describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.checkpoints.sentence_transformers.module_chain import Module

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

#: Modes by the keys that versions before 6 wrote, in the order of their vectors.
_OLD_MODES: Final[dict[str, Mode]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_KEYS: Final = frozenset(
    {"embedding_dimension", "word_embedding_dimension", "include_prompt", "pooling_mode"}
)


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How the states of a text's tokens become one vector.

    Attributes:
        modes: whose vectors stand side by side.
        width: numbers of a token's state.
        include_prompt: whether the prompt's tokens are looked at as well.
    """

    modes: tuple[Mode, ...]
    width: int
    include_prompt: bool


def pooling(checkpoint: Checkpoint, module: Module) -> Pooling:
    """One key says the mode since version 6; before, several keys that are true.

    Raises:
        ModelError: an unknown key or mode, or no width.
    """
    name = f"{module.folder}/config.json"
    config, where = checkpoint.table(name, required=True), checkpoint.folder / name
    unknown = sorted(set(config) - _KEYS - set(_OLD_MODES))
    if unknown:
        raise ModelError(f"{where}: unknown key '{unknown[0]}'")
    stated = config.get("pooling_mode")
    if stated is None:
        stated = [mode for key, mode in _OLD_MODES.items() if config.get(key)] or ["mean"]
    modes = tuple(stated) if isinstance(stated, list) else (stated,)
    if not modes or not all(mode in _OLD_MODES.values() for mode in modes):
        raise ModelError(
            f"{where}: pooling {', '.join(map(str, modes)) or 'by nothing'}; known are "
            f"{', '.join(_OLD_MODES.values())}, and several of them"
        )
    old = "word_embedding_dimension"
    key = old if old in config else "embedding_dimension"
    size = checkpoint.config.get("hidden_size")
    return Pooling(
        modes=modes,
        width=whole_number(config, key, where=where, default=size),
        include_prompt=yes_or_no(config, "include_prompt", where=where, default=True),
    )
