"""Which family runs a checkpoint, told by what its files say; by its name never.

Where files do not settle it, it is refused and the families that come nearest are named: a list
that is scored by the wrong rules looks like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.checkpoints.sentence_transformers.cross_encoder_files import SCORES
from pipeline.checkpoints.sentence_transformers.files import MODEL
from pipeline.checkpoints.sentence_transformers.module_chain import MODULES, modules
from pipeline.checkpoints.sentence_transformers.multi_vector import multi_vector_layout
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Architectures of one family alone (``architectures`` of config.json).
_OWN: Final = {
    "JinaForRanking": "jina_v3",
    "JinaVLForRanking": "jina_m0",
    "HF_ColBERT": "late_interaction",
}

#: Architectures that no family runs, and why (FlagEmbedding, which has code for them).
_REFUSED: Final = {
    "LayerWiseMiniCPMForCausalLM": "has a head for each of many layers, on a network (MiniCPM) "
    "that transformers does not have; bge-reranker-v2-gemma is of the same makers",
    "CostWiseGemmaForCausalLM": "merges tokens between its layers by code of its own, which is "
    "never run; bge-reranker-v2-gemma is of the same makers",
}

#: transformers' classes that are a linear layer on a decoder, by the decoder's ``model_type``.
_DECODERS: Final = {
    "GemmaForSequenceClassification": "gemma",
    "Gemma2ForSequenceClassification": "gemma2",
    "Gemma3TextForSequenceClassification": "gemma3_text",
    "LlamaForSequenceClassification": "llama",
    "MistralForSequenceClassification": "mistral",
    "Qwen2ForSequenceClassification": "qwen2",
    "Qwen3ForSequenceClassification": "qwen3",
}

#: NVIDIA's classes: the mean of a decoder that looks both ways.
_BIDIRECTIONAL: Final = "LlamaBidirectionalForSequenceClassification"
_MINISTRAL: Final = "Mistral3ForSequenceClassification"

#: Encoders of transformers that the cross_encoder family runs.
_ENCODERS: Final = (
    "Bert",
    "Roberta",
    "XLMRoberta",
    "DebertaV2",
    "ModernBert",
    "Electra",
    "Camembert",
    "DistilBert",
    "MPNet",
    "Albert",
)

#: transformers' classes of them with a head for classification, and those without a head.
_CLASSIFIERS: Final = tuple(f"{encoder}ForSequenceClassification" for encoder in _ENCODERS)
_BODIES: Final = tuple(f"{encoder}Model" for encoder in _ENCODERS)
#: Of Qwen3-VL-Reranker, and of the chat model that it was made from.
_QWEN3_VL: Final = "Qwen3VLForConditionalGeneration"

#: What colbert-ai writes beside a checkpoint.
_COLBERT: Final = "artifact.metadata"

#: The last layer of a head with one logit, in jina's and transformers' layouts.
_LOGIT: Final = ("classifier.weight", "classifier.out_proj.weight")

#: Attention's one matrix in jina's flash implementation of XLM-RoBERTa.
_FLASH: Final = ".mixer.Wqkv.weight"

_SET: Final = "set model.family, if you know that one of them runs it"


def family_of(checkpoint: Checkpoint) -> tuple[str, str]:
    """The family that runs a checkpoint, and what says so.

    Raises:
        ModelError: its files do not settle it, or no family runs it; names the nearest ones.
    """
    config = checkpoint.config
    kinds = config.get("architectures")
    kind = str(kinds[0]) if isinstance(kinds, list) and kinds else ""
    if kind in _REFUSED:
        raise ModelError(
            f"{checkpoint.folder / 'config.json'}: architectures [{kind}]: {_REFUSED[kind]}"
        )
    if kind in _OWN:
        return _OWN[kind], f"config.json: architectures [{kind}]"
    if (checkpoint.folder / _COLBERT).exists():
        return "late_interaction", _COLBERT
    classifier = _decoder_with_a_head(checkpoint, kind)
    if classifier is not None:
        return classifier
    answering = _answers_of_images(checkpoint, kind)
    if answering is not None:
        return answering
    saved = _of_sentence_transformers(checkpoint, kind)
    if saved is not None:
        return saved
    if config.get("position_embedding_type") == "alibi" and _has_logit(checkpoint):
        return "jina_v1", "config.json: position_embedding_type alibi, and a head with one logit"
    if kind.startswith("XLMRoberta") and _is_flash(checkpoint) and _has_logit(checkpoint):
        return "jina_v2", f"tensors *{_FLASH}, and a head with one logit"
    if kind in _CLASSIFIERS:
        return "cross_encoder", f"config.json: architectures [{kind}]"
    raise _not_sure(checkpoint, kind)


def _answers_of_images(checkpoint: Checkpoint, kind: str) -> tuple[str, str] | None:
    """Qwen3-VL that is read at a token, which a chat model of its architecture does not say."""
    names = [one.rpartition(".")[2] for one in _modules(checkpoint)]
    if kind != _QWEN3_VL or "LogitScore" not in names:
        return None
    return "qwen3_vl_reranker", f"{MODULES}: {', '.join(names)}, on a {kind}"


def _of_sentence_transformers(checkpoint: Checkpoint, kind: str) -> tuple[str, str] | None:
    """What sentence-transformers and PyLate saved; None where they did not."""
    vectors = multi_vector_layout(checkpoint)
    if vectors is not None:
        return "late_interaction", vectors
    stated = checkpoint.table(MODEL).get("model_type")
    names = [one.rpartition(".")[2] for one in _modules(checkpoint)]
    if "LogitScore" in names:
        return "token_logit", f"{MODULES}: {', '.join(names)}"
    if kind in _BODIES and _ends_in_scores(checkpoint, names):
        return "cross_encoder", f"{MODULES}: {', '.join(names)}, of which the last writes scores"
    if stated == "CrossEncoder":
        if kind in _CLASSIFIERS:
            return "cross_encoder", f"{MODEL}: model_type CrossEncoder, a {kind}"
        raise ModelError(
            f"{checkpoint.folder / MODEL}: a CrossEncoder on {kind or 'an unnamed network'}, which "
            "no family runs; the nearest is cross_encoder, which runs "
            f"{', '.join(_CLASSIFIERS)}"
        )
    if "Pooling" in names:
        return "bi_encoder", f"{MODULES}: {', '.join(names)}"
    return None


def _decoder_with_a_head(checkpoint: Checkpoint, kind: str) -> tuple[str, str] | None:
    """A linear layer on a decoder; None where it is something else."""
    told = f"config.json: architectures [{kind}]"
    if kind == _BIDIRECTIONAL:
        return "bidirectional_decoder", told
    if kind == _MINISTRAL:
        raise ModelError(
            f"{checkpoint.folder}/{told}: the network of Nemotron-3.5-Rerank, whose prompt is not "
            "known to this program; the nearest family is bidirectional_decoder, which runs "
            f"{_BIDIRECTIONAL}"
        )
    stated = checkpoint.config.get("model_type")
    if _DECODERS.get(kind, stated) != stated:
        raise ModelError(
            f"{checkpoint.folder}/{told}, but model_type '{stated}'; the nearest family is "
            f"decoder_classifier; {_SET}"
        )
    return ("decoder_classifier", told) if kind in _DECODERS else None


def _ends_in_scores(checkpoint: Checkpoint, names: list[str]) -> bool:
    """Whether a head of modules stands behind a body: a vector of a pair, and its scores."""
    if names[:2] != ["Transformer", "Pooling"] or names[-1] != "Dense":
        return False
    last = modules(checkpoint)[-1]
    return bool(checkpoint.table(f"{last.folder}/config.json").get("module_output_name") == SCORES)


def _modules(checkpoint: Checkpoint) -> list[str]:
    """Class paths of the modules that modules.json names."""
    given: Any = checkpoint.json(MODULES)
    listed = given if isinstance(given, list) else []
    return [str(module.get("type")) for module in listed if isinstance(module, Mapping)]


def _has_logit(checkpoint: Checkpoint) -> bool:
    return any(
        name in _LOGIT and shape and shape[0] == 1 for name, shape in checkpoint.shapes().items()
    )


def _is_flash(checkpoint: Checkpoint) -> bool:
    return any(name.endswith(_FLASH) for name in checkpoint.shapes())


def _not_sure(checkpoint: Checkpoint, kind: str) -> ModelError:
    where = f"{checkpoint.folder / 'config.json'}: architectures [{kind}]"
    if kind.endswith("ForCausalLM"):
        return ModelError(
            f"{where}: a language model may rank in several ways: token_logit (one answer a "
            "document; the prompt is model.settings.template), qwen3_reranker (so does it, with a "
            "prompt of its own), pairwise (two documents a prompt), listwise_generation (a list); "
            f"{_SET}"
        )
    if kind == _QWEN3_VL:
        return ModelError(
            f"{where}: a chat model or a reranker, told apart by nothing but a LogitScore in "
            f"{MODULES}; the nearest family is qwen3_vl_reranker; {_SET}"
        )
    if kind.endswith("ForConditionalGeneration"):
        return ModelError(
            f"{where}: a model of images and text; the nearest families are mono_qwen2_vl and "
            f"jina_m0; {_SET}"
        )
    if kind.endswith("ForSequenceClassification"):
        return ModelError(
            f"{where}: no family runs this network; the nearest is cross_encoder, which runs "
            f"{', '.join(_CLASSIFIERS)}"
        )
    named = [one.rpartition(".")[2] for one in _modules(checkpoint)]
    if named:
        return ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(named)}, of which no family makes "
            "a score; the nearest are bi_encoder (Transformer, Pooling, ...), cross_encoder (the "
            "same with a Dense that writes scores) and late_interaction (Transformer, Dense, "
            f"MultiVectorMask); {_SET}"
        )
    return ModelError(
        f"{where}: a network without a head, and no {MODULES} that says how it is used; the "
        f"nearest families are bi_encoder (one vector a text), late_interaction (one a token) and "
        f"cross_encoder (a logit a pair); {_SET}"
    )
