"""A CrossEncoder that reads the logits of tokens, as sentence-transformers 5.4 and later save it.

``modules.json`` names a Transformer for text generation and a ``LogitScore``, whose file holds the
tokens; ``config_sentence_transformers.json`` the prompt and the activation; the Transformer's file
what its chat template is given. A value that would change scores is taken or refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pipeline.checkpoints.sentence_transformers.files import MODEL, TRANSFORMER, model_file
from pipeline.checkpoints.sentence_transformers.module_chain import MODULES, Module, modules
from pipeline.checkpoints.values import whole_number
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: The module that makes a score of logits.
MODULE: Final = "LogitScore"

Task = Literal["text-generation", "sequence-classification"]

_TASK: Final[Task] = "text-generation"
_LOGITS: Final = "causal_logits"

#: What the library takes of a network, by what it loads the network for.
_OUTPUTS: Final[dict[Task, str]] = {_TASK: _LOGITS, "sequence-classification": "scores"}

#: Keys that leave ids and scores of a pair alone, whatever they say.
_HARMLESS: Final = frozenset(
    {
        "document_length",
        "logits_to_keep",
        "padding",
        "query_expansion",
        "query_length",
        "restore_suffix",
        "return_tensors",
        "unpad_inputs",
    }
)

#: Arguments of from_pretrained that say how to load, not what.
_HOW_TO_LOAD: Final = frozenset(
    {"attn_implementation", "dtype", "torch_dtype", "trust_remote_code", "use_safetensors"}
)

#: Keys that limit the tokens of a sequence.
_LIMITS: Final = frozenset({"max_seq_length", "max_length", "model_max_length"})

#: Values that say what is done anyway.
_UNDERSTOOD: Final[dict[str, tuple[Any, ...]]] = {
    "method": ("forward",),
    "method_output_name": ("logits",),
    "truncation": (True, "longest_first"),
    "padding_side": ("left",),
}

#: Where arguments of the chat template stand, and the one that is no variable.
_OF_TEMPLATE: Final = "processing_kwargs.chat_template."
_NOT_SUPPORTED: Final = frozenset({"continue_final_message", "truncation"})

MessageFormat = Literal["auto", "flat", "structured"]

#: Activations of scores by the names of torch's classes, as the family calls them.
_ACTIVATIONS: Final = {"Identity": "none", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, kw_only=True)
class LogitScoreFiles:
    """What the files say.

    Attributes:
        yes: id of the token whose logit counts.
        no: id of the token whose logit is taken off it; None: the first one's alone is the score.
        instruction: the prompt that is used where none is given; None: there is none.
        max_length: tokens of a sequence, where the files limit them.
        message_format: of the chat template's messages: flat, structured or auto.
        variables: what the chat template is given.
    """

    yes: int
    no: int | None
    instruction: str | None
    max_length: int | None
    message_format: MessageFormat
    variables: Mapping[str, Any] = field(default_factory=dict)


def is_logit_score(checkpoint: Checkpoint) -> bool:
    """Whether ``modules.json`` names such a module."""
    return any(module.kind == MODULE for module in modules(checkpoint))


def read_logit_score(checkpoint: Checkpoint) -> LogitScoreFiles:
    """The files of such a checkpoint.

    Raises:
        ModelError: something in them is not understood and would change scores.
    """
    chain = modules(checkpoint)
    if [module.kind for module in chain] != ["Transformer", MODULE]:
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules {', '.join(m.kind for m in chain) or 'none'}; "
            f"the token_logit family runs a Transformer with a {MODULE}, or takes the prompt and "
            "the token from model.settings.template and true_token"
        )
    yes, no = _tokens(checkpoint, chain[1])
    limit, form, variables = read_transformer(checkpoint, task=_TASK)
    return LogitScoreFiles(
        yes=yes,
        no=no,
        instruction=default_prompt(checkpoint),
        max_length=limit,
        message_format=form,
        variables=variables,
    )


def chat_template(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """The chat template that transformers' tokenizer would use, and its file; None: there is none.

    Raises:
        ModelError: there are several and none is the default.
    """
    stored = checkpoint.read_bytes("chat_template.jinja")
    if stored is not None:
        where = checkpoint.folder / "chat_template.jinja"
        try:
            return stored.decode("utf-8"), str(where)
        except UnicodeDecodeError as error:
            raise ModelError(f"{where}: not UTF-8: {error}") from None
    where = checkpoint.folder / "tokenizer_config.json"
    given = checkpoint.table("tokenizer_config.json").get("chat_template")
    if isinstance(given, list):
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, Mapping)}
        given = named.get("default")
    if given is None:
        return None
    if not isinstance(given, str):
        raise ModelError(f"{where}: chat_template is no text, and no list with one named default")
    return given, f"{where}: chat_template"


def special_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """Special tokens by their names, such as ``bos_token``, which chat templates are given."""
    found: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        for name, token in checkpoint.table(file).items():
            content = token.get("content") if isinstance(token, Mapping) else token
            if name.endswith("_token") and isinstance(content, str):
                found[name] = content
    return found


def activation(checkpoint: Checkpoint) -> str:
    """What is done to scores: none or sigmoid, the library's own where the files say nothing.

    Raises:
        ModelError: it is another one.
    """
    model = model_file(checkpoint, "CrossEncoder")
    inside = checkpoint.config.get("sentence_transformers")
    for stated in (
        model.get("activation_fn"),
        inside.get("activation_fn") if isinstance(inside, Mapping) else None,
        checkpoint.config.get("sbert_ce_default_activation_function"),
    ):
        if stated is None:
            continue
        package, _, kind = str(stated).rpartition(".")
        if kind not in _ACTIVATIONS or package.partition(".")[0] != "torch":
            raise ModelError(
                f"{checkpoint.folder / MODEL}: activation_fn '{stated}' is not understood and "
                f"never imported; known are torch's {', '.join(_ACTIVATIONS)}. Set "
                "model.settings.activation"
            )
        return _ACTIVATIONS[kind]
    return "sigmoid"


def _tokens(checkpoint: Checkpoint, module: Module) -> tuple[int, int | None]:
    name = f"{module.folder}/config.json"
    config, where = checkpoint.table(name, required=True), checkpoint.folder / name
    unknown = sorted(set(config) - {"true_token_id", "false_token_id", "module_input_name"})
    reads = config.get("module_input_name", _LOGITS)
    if unknown or reads != _LOGITS:
        key = unknown[0] if unknown else f"module_input_name '{reads}'"
        raise ModelError(f"{where}: {key} is not understood and would change scores")
    yes = whole_number(config, "true_token_id", where=where, least=0)
    if config.get("false_token_id") is None:
        return yes, None
    return yes, whole_number(config, "false_token_id", where=where, least=0)


def default_prompt(checkpoint: Checkpoint) -> str | None:
    """The prompt that is used where none is given; None: there is none.

    Raises:
        ModelError: the default's name is no prompt's.
    """
    model = model_file(checkpoint, "CrossEncoder")
    where = checkpoint.folder / MODEL
    default, named = model.get("default_prompt_name"), model.get("prompts") or {}
    if default is None:
        return None
    text = named.get(default) if isinstance(named, Mapping) else None
    if not isinstance(text, str):
        raise ModelError(f"{where}: default_prompt_name '{default}' is none of 'prompts'")
    return text or None


def read_transformer(
    checkpoint: Checkpoint, *, task: Task
) -> tuple[int | None, MessageFormat, dict[str, Any]]:
    """Limit, format of messages and variables of the chat template, of a network of messages.

    Raises:
        ModelError: it is of something else, or not understood and would change scores.
    """
    understood = _UNDERSTOOD | {
        "transformer_task": (task,),
        "module_output_name": (_OUTPUTS[task],),
    }
    config, where = checkpoint.table(TRANSFORMER, required=True), checkpoint.folder / TRANSFORMER
    if config.get("transformer_task") != task or "message" not in config.get(
        "modality_config", ["message"]
    ):
        raise ModelError(
            f"{where}: transformer_task '{config.get('transformer_task')}' on "
            f"{', '.join(config.get('modality_config', ()))}; expected {task} on messages, which "
            "a chat template makes prompts of. Say the prompt in model.settings.template"
            f"{' and the token in model.settings.true_token' if task == _TASK else ''}"
        )
    limit: Any = None
    form: MessageFormat = "auto"
    variables: dict[str, Any] = {}
    for key, value in _flat(config):
        last = key.rpartition(".")[2]
        if last in _HARMLESS or (key.endswith(f"_kwargs.{last}") and last in _HOW_TO_LOAD):
            continue
        if last in _LIMITS:
            limit = value if limit is None else limit
        elif key == "modality_config.message.format" and value in get_args(MessageFormat):
            form = value
        elif value in understood.get(last, ()):
            continue
        elif key.startswith(_OF_TEMPLATE) and last not in _NOT_SUPPORTED:
            variables[last] = value
        elif value:
            raise ModelError(f"{where}: {key} {value!r} is not understood and would change scores")
    if limit is not None:
        limit = whole_number({"max_seq_length": limit}, "max_seq_length", where=where)
    return limit, form, variables


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values, keys of tables joined with dots; a variable of the chat template is one."""
    for key, value in config.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and before != _OF_TEMPLATE:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
