"""What sentence-transformers writes beside a network, read as data: modules, prompts, activations.

Written for the files of versions 2 to 6. A value that would change scores is taken or refused by
name, never skipped; classes are known by their names and never imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.rerankers.support.checkpoint import Checkpoint

MODEL: Final = "config_sentence_transformers.json"
MODULES: Final = "modules.json"
TRANSFORMER: Final = "sentence_bert_config.json"

#: Older names of the same file, by architecture (base/modules/transformer.py).
_OLD_TRANSFORMER: Final = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

#: Keys of sentence_bert_config.json that leave scores alone, whatever they say.
_HARMLESS: Final = frozenset(
    {"module_output_name", "modality_config", "transformer_task", "unpad_inputs"}
)

#: Arguments of from_pretrained that say how to load, not what.
_HOW_TO_LOAD: Final = frozenset(
    {
        "add_pooling_layer",
        "attn_implementation",
        "dtype",
        "torch_dtype",
        "trust_remote_code",
        "use_safetensors",
    }
)

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

#: Activations of a cross-encoder that keep the order of logits, by the name of their class.
_ACTIVATIONS: Final = {"Identity": "none", "Sigmoid": "sigmoid"}

_FOLDER: Final = re.compile(r"[\w-]+")


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
    kinds = _kinds(checkpoint)
    where = checkpoint.folder / MODULES
    if list(kinds) not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelError(
            f"{where}: modules {', '.join(kinds) or 'none'}; the bi_encoder family runs "
            "Transformer, Pooling and, after them, Normalize"
        )
    pooling = checkpoint.json(f"{kinds['Pooling']}/config.json", required=True)
    normalized = "Normalize" in kinds
    if normalized:
        _refuse_other_features(checkpoint, f"{kinds['Normalize']}/config.json")
    model = _model_file(checkpoint, "SentenceTransformer")
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
        include_prompt=bool(pooling.get("include_prompt", True)),
    )


def _pooling(checkpoint: Checkpoint, name: str, pooling: Mapping[str, Any]) -> Any:
    """The mode as the library reads it: one key since version 6, several that are true before."""
    stated = pooling.get("pooling_mode")
    if stated is None:
        stated = [mode for key, mode in _OLD_MODES.items() if pooling.get(key)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else list(stated)
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
    for key, value in checkpoint.json(name).items():
        if value != "sentence_embedding":
            raise ModelError(
                f"{checkpoint.folder / name}: {key} {value!r}; expected 'sentence_embedding'"
            )


def _kinds(checkpoint: Checkpoint) -> dict[str, str]:
    """Class name to folder of every module, in order.

    Raises:
        ModelError: a module of others, arguments, a folder elsewhere, a class twice.
    """
    where = checkpoint.folder / MODULES
    modules = checkpoint.json(MODULES, required=True)
    if not isinstance(modules, list) or not all(isinstance(m, Mapping) for m in modules):
        raise ModelError(f"{where}: expected a list of modules")
    kinds: dict[str, str] = {}
    for module in modules:
        unknown = sorted(set(module) - {"idx", "name", "path", "type", "kwargs"})
        if unknown or module.get("kwargs"):
            key = unknown[0] if unknown else "kwargs"
            raise ModelError(f"{where}: '{key}' of module {module.get('name')!r} is not understood")
        package, _, kind = str(module.get("type")).rpartition(".")
        path = str(module.get("path", ""))
        if package.partition(".")[0] != "sentence_transformers":
            raise ModelError(
                f"{where}: module '{module.get('type')}' is code of the checkpoint's own or of "
                "another package, which is never run"
            )
        if kind in kinds or (path != "" if kind == "Transformer" else not _FOLDER.fullmatch(path)):
            raise ModelError(
                f"{where}: module {kind} in '{path}'; expected the Transformer in the folder "
                "itself and every other module once, in a folder beside it"
            )
        kinds[kind] = path
    return kinds


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
    model = checkpoint.json(MODEL)
    named = model.get("prompts") or {}
    if not isinstance(named, Mapping) or not all(
        text is None or isinstance(text, str) for text in named.values()
    ):
        raise ModelError(f"{where}: 'prompts' is no table of texts")
    found = {name: text for name, text in named.items() if text}
    default = model.get("default_prompt_name")
    if default is not None and default not in named:
        raise ModelError(f"{where}: default_prompt_name {default!r} is none of its prompts")
    if query is None:
        if (
            default in found
            and default not in ("query", *_DOCUMENT_PROMPTS)
            and ("query" not in found)
        ):
            raise _unclear(where, f"default_prompt_name '{default}'", "query_prefix")
        query = found.get("query", "")
    if document is None:
        others = [name for name in _DOCUMENT_PROMPTS[1:] if name in found]
        if "document" not in found and others:
            raise _unclear(where, f"a prompt '{others[0]}' and none 'document'", "document_prefix")
        if (
            default in found
            and default not in ("query", *_DOCUMENT_PROMPTS)
            and ("document" not in found)
        ):
            raise _unclear(where, f"default_prompt_name '{default}'", "document_prefix")
        document = found.get("document", "")
    return query, document


def _unclear(where: object, what: str, setting: str) -> ModelError:
    return ModelError(
        f"{where}: {what}, which may or may not be meant here; set model.settings.{setting} to the "
        "text that comes before, or to an empty one"
    )


def max_seq_length(checkpoint: Checkpoint, *, lowercases: bool) -> int | None:
    """Tokens of a text as ``sentence_bert_config.json`` limits them; None where it does not.

    Args:
        checkpoint: with or without the file.
        lowercases: whether the tokenizer does.

    Raises:
        ModelError: a key that would change scores and is not understood.
    """
    name = next((n for n in (TRANSFORMER, *_OLD_TRANSFORMER) if checkpoint.json(n)), TRANSFORMER)
    config = checkpoint.json(name)
    where = checkpoint.folder / name
    limit = config.get("max_seq_length")
    for key, value in config.items():
        if key in _HARMLESS or not value or key == "max_seq_length":
            continue
        if key == "do_lower_case" and lowercases:
            continue
        if key.endswith(("_args", "_kwargs")) and isinstance(value, Mapping):
            unknown = sorted(set(value) - _HOW_TO_LOAD)
            if unknown == ["model_max_length"]:
                limit = limit or value["model_max_length"]
                continue
            if not unknown:
                continue
            key, value = f"{key}.{unknown[0]}", value[unknown[0]]
        raise ModelError(f"{where}: {key} {value!r} is not understood and would change scores")
    return limit if isinstance(limit, int) else None


def _model_file(checkpoint: Checkpoint, kind: str) -> dict[str, Any]:
    """``config_sentence_transformers.json`` of a model of that kind; empty where there is none."""
    model: dict[str, Any] = checkpoint.json(MODEL)
    stated = model.get("model_type", kind)
    if stated != kind:
        raise ModelError(f"{checkpoint.folder / MODEL}: model_type '{stated}', expected '{kind}'")
    return model


def check_cross_encoder(checkpoint: Checkpoint, *, activation_is_given: bool) -> None:
    """Refuse what a cross-encoder's files ask for beyond a network and a logit.

    Args:
        checkpoint: of a cross-encoder.
        activation_is_given: whether the settings say what is done to logits, whatever the
            checkpoint says.

    Raises:
        ModelError: prompts that are in use, further modules, an unknown activation.
    """
    model = _model_file(checkpoint, "CrossEncoder")
    where = checkpoint.folder / MODEL
    default = model.get("default_prompt_name")
    if default is not None and (model.get("prompts") or {}).get(default):
        raise ModelError(
            f"{where}: default_prompt_name '{default}' puts a prompt before every query, which "
            "the cross_encoder family does not; the scores would differ"
        )
    if checkpoint.json(MODULES) and list(_kinds(checkpoint)) != ["Transformer"]:
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(_kinds(checkpoint))}; the "
            "cross_encoder family runs a Transformer alone"
        )
    if activation_is_given:
        return
    inside = checkpoint.config.get("sentence_transformers") or {}
    for name, activation in (
        ("config.json: sentence_transformers.activation_fn", inside.get("activation_fn")),
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
