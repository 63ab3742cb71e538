"""A checkpoint's config.json as transformers' configuration, without a say in what code runs.

transformers takes a configuration's word for which attention kernels to fetch from a hub
(``_attn_implementation: "owner/kernel"``), which experts' kernels, which repository holds the
network's code (``auto_map``), where the weights are, and sets every key that it does not know as an
attribute, over its own methods where the name is one. Here a configuration describes the sizes of
a network and nothing else: :func:`plain_config` drops the rest at every depth, for all families.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Keys that choose code, a kernel, a download or another file, and keys that say how a checkpoint
#: was written or what a call returns. Read from transformers 5: configuration_utils,
#: modeling_utils, models/auto, integrations/hub_kernels, quantizers. Names that begin with "_" or
#: end in "_implementation" are dropped as well.
NOT_THE_NETWORK: Final = frozenset(
    {
        "adapter",
        "adapter_kwargs",
        "architectures",
        "attn_kernel",
        "auto_map",
        "base_model_name_or_path",
        "code_revision",
        "compile_config",
        "custom_generate",
        "custom_pipelines",
        "device_map",
        "distributed_config",
        "dtype",
        "feature_extractor_type",
        "generation_config",
        "gguf_file",
        "image_processor_type",
        "kernel_config",
        "kernel_mapping",
        "loss_type",
        "name_or_path",
        "output_attentions",
        "output_hidden_states",
        "peft_config",
        "problem_type",
        "processor_class",
        "reference_compile",
        "return_dict",
        "sentence_transformers",
        "task_specific_params",
        "tokenizer_class",
        "torch_dtype",
        "torchscript",
        "tp_plan",
        "transformers_version",
        "trust_remote_code",
        "use_auth_token",
        "use_flash_attn",
        "use_kernel",
        "use_kernels",
        "use_return_dict",
        "video_processor_type",
    }
)

#: Attributes of transformers' configuration classes that a config.json may set.
_SETTABLE: Final = frozenset(
    {"model_type", "num_labels", "per_layer_config", "rope_scaling", "sliding_window"}
)

#: What the config.json of jina's flash XLM-RoBERTa says about the network; the rest is about
#: upstream's own code.
FLASH_XLM_ROBERTA: Final = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)

#: Where the libraries that quantise weights say so.
_QUANTISED: Final = ("quantization_config", "quantization", "compression_config")

#: Activations for which transformers imports a package beside it, if there is one.
_ACTIVATIONS_ELSEWHERE: Final = frozenset({"xielu"})


def plain_config(config: Mapping[str, Any], *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """The keys of a config.json that describe the network, at every depth; a copy.

    ``model_type`` stays inside sub-configurations, where it picks one of transformers' own, and
    goes at the top, where the family has picked.

    Args:
        config: content of config.json.
        hidden: further keys to drop, those that would hide what a class has by that name.
    """
    dropped = NOT_THE_NETWORK.union(hidden)
    return {key: value for key, value in _plain(config, dropped).items() if key != "model_type"}


def _plain(value: Any, dropped: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _plain(inner, dropped)
            for key, inner in value.items()
            if not (key in dropped or key.startswith("_") or key.endswith("_implementation"))
        }
    if isinstance(value, list):
        return [_plain(item, dropped) for item in value]
    return value


def network_config(
    config: Mapping[str, Any],
    *,
    kind: str,
    where: Path | str,
    known: Collection[str] | None = None,
    **given: Any,
) -> Any:
    """transformers' configuration of a network, with the attention that transformers has itself.

    Args:
        config: content of config.json.
        kind: transformers' ``model_type`` of the network.
        where: the file, for messages.
        known: the only keys to take, where a layout has others of its own; all where None.
        **given: what the family knows better than the file.

    Raises:
        ModelError: transformers has no such network, or refuses a value.
    """
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    refuse_unusable(config, where)
    plain = plain_config(config, hidden=_hidden(PreTrainedConfig))
    if known is not None:
        plain = {key: plain[key] for key in known if key in plain}
    try:
        family = CONFIG_MAPPING[kind]
        hidden = _hidden(family)
        made = family(**{k: v for k, v in plain.items() if k not in hidden} | given)
    except Exception as error:  # whatever a configuration class raises for a value
        raise not_a_network(where, kind, error) from None
    # None is transformers' own choice, scaled dot products where the network has them. It is set
    # on every sub-configuration too, whatever their classes made of their part of the file.
    made._attn_implementation = None
    made._experts_implementation = None
    return made


def _hidden(family: Any) -> set[str]:
    """Keys that would stand in the place of a method or a table of the class."""
    fields = {field.name for field in dataclasses.fields(family)}
    return set(dir(family)) - fields - set(family.attribute_map) - _SETTABLE


def refuse_unusable(config: Mapping[str, Any], where: Path | str) -> None:
    """Refuse what cannot be loaded as it is: quantised weights, activations from elsewhere.

    Raises:
        ModelError: names the key.
    """
    for key, value in _items(config):
        if key in _QUANTISED and value:
            method = value.get("quant_method") if isinstance(value, Mapping) else None
            raise ModelError(
                f"{where}: '{key}' says that the weights are quantised"
                f"{f' ({method})' if method else ''}; they are read as they are stored, so the "
                "scores would be wrong. Use the checkpoint in float32, bfloat16 or float16"
            )
        if isinstance(value, str) and value.lower() in _ACTIVATIONS_ELSEWHERE:
            raise ModelError(
                f"{where}: {key} '{value}' is computed by a package beside transformers, which a "
                "checkpoint has no say in; this network is not supported"
            )


def _items(value: Any) -> list[tuple[str, Any]]:
    """Every key of a configuration with its value, sub-configurations after what holds them."""
    if isinstance(value, Mapping):
        found = [(str(key), inner) for key, inner in value.items()]
        return found + [pair for inner in value.values() for pair in _items(inner)]
    if isinstance(value, list):
        return [pair for inner in value for pair in _items(inner)]
    return []


def refuse_quantised(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose weights are not what its layout says, before anything is loaded.

    Raises:
        ModelError: names file and key.
    """
    refuse_unusable(checkpoint.config, checkpoint.folder / "config.json")
    for name in ("quantize_config.json", "quant_config.json"):
        if (checkpoint.folder / name).exists():
            raise ModelError(
                f"{checkpoint.folder / name}: says that the weights are quantised; they are read "
                "as they are stored, so the scores would be wrong. Use the checkpoint in float32, "
                "bfloat16 or float16"
            )


def not_a_network(where: Path | str, kind: str, error: Exception) -> ModelError:
    """The refusal of a configuration that the installed transformers makes no network of."""
    said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return ModelError(
        f"{where}: the installed transformers makes no network of model_type '{kind}' of this "
        f"configuration ({type(error).__name__}: {said}); is it complete, and of a version that "
        "this transformers knows?"
    )
