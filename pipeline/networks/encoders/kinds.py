"""What is known of each encoder that cross-encoders and bi-encoders are made of; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder, and transformers' sequence-classification head on it.

    Attributes:
        heads: modules of the classifier that run in float32.
        packs: whether it runs without padding, see :mod:`.packed_encoder`.
        reserved: positions that no token can use: RoBERTa counts from the padding's id + 1.
    """

    heads: tuple[str, ...]
    packs: bool
    reserved: int = 0


#: By ``model_type`` of config.json. MPNet attends by distances within a matrix, DistilBERT and
#: ALBERT have layers of their own: these are padded to a matrix.
ENCODERS: Final[dict[str, Encoder]] = {
    "bert": Encoder(heads=("bert.pooler", "classifier"), packs=True),
    "electra": Encoder(heads=("classifier",), packs=True),
    "roberta": Encoder(heads=("classifier",), packs=True, reserved=2),
    "xlm-roberta": Encoder(heads=("classifier",), packs=True, reserved=2),
    "camembert": Encoder(heads=("classifier",), packs=True, reserved=2),
    "modernbert": Encoder(heads=("head", "classifier"), packs=True),
    "deberta-v2": Encoder(heads=("pooler", "classifier"), packs=True),
    "distilbert": Encoder(heads=("pre_classifier", "classifier"), packs=False),
    "mpnet": Encoder(heads=("classifier",), packs=False, reserved=2),
    "albert": Encoder(heads=("albert.pooler", "classifier"), packs=False),
}


def packs(config: Mapping[str, Any]) -> bool:
    """Whether the encoder of a config.json runs without padding.

    A DeBERTa-v2 may have a convolution over neighbouring tokens (the v2 models of size xlarge and
    xxlarge), or plain attention, and BERT may be told to look back only (``is_decoder``): these are
    padded.
    """
    encoder = ENCODERS.get(str(config.get("model_type")))
    if encoder is None or not encoder.packs or config.get("is_decoder"):
        return False
    if config.get("model_type") != "deberta-v2":
        return True
    return bool(config.get("relative_attention")) and not config.get("conv_kernel_size")
