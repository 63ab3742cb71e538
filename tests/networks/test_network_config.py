"""A checkpoint chooses no code: keys that make transformers import or fetch something are planted.

The suite lists the folder of families; a new family without a checkpoint to test it on fails here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.families import find, names
from pipeline.errors import ModelError
from pipeline.networks.loading import nothing_fetched
from pipeline.networks.network_config import NOT_THE_NETWORK, network_config, plain_config
from pipeline.rerankers.base import WeightedReranker
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens"

#: A stand-in for the package that fetches kernels: it notes whoever asks it for one.
KERNELS = """
import os, pathlib
__version__ = "0.18.5"
class _Anything:
    def __init__(self, *a, **k): pass
    def __getattr__(self, name): return _Anything()
    def __call__(self, *a, **k): return _Anything()
def get_kernel(name, *a, **k):
    pathlib.Path(os.environ["MARKER"]).write_text(f"kernel {name}")
    raise RuntimeError("a kernel was asked for")
load_kernel = get_local_kernel = has_kernel = get_kernel
def use_kernel_forward_from_hub(*a, **k): return lambda cls: cls
use_kernelized_func = use_kernel_forward_from_hub
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return _Anything
"""
IMPORTED = 'import os, pathlib; pathlib.Path(os.environ["MARKER"]).write_text(__name__)\n'

#: Keys that choose code, kernels, files or what a call returns; a network consists of none.
CHOICES: dict[str, Any] = {
    "_attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "attn_implementation": "evil/kernel",
    "_experts_implementation": "evil/kernel",
    "experts_implementation": "evil/kernel",
    "use_kernels": True,
    "kernel_config": {"kernel_mapping": {"RMSNorm": "evil/kernel:RMSNorm"}},
    "attribute_map": {"_attn_implementation_internal": "loss_type"},
    "loss_type": "evil/kernel",
    "sub_configs": {"text_config": "marker_module.Config"},
    "to_dict": "marker_module.to_dict",
    "get_text_config": "marker_module.text_config",
    "base_model_tp_plan": {"*": "marker_module"},
    "_auto_class": "marker_module.Auto",
    "_name_or_path": "evil/repository",
    "name_or_path": "evil/repository",
    "trust_remote_code": True,
    "custom_generate": "evil/repository",
    "custom_pipelines": {"text-classification": {"impl": "marker_module.Pipeline"}},
    "generation_config": {"custom_generate": "evil/repository"},
    "adapter": "evil/repository",
    "peft_config": {"base_model_name_or_path": "evil/repository"},
    "tokenizer_class": "marker_module.Tokenizer",
    "processor_class": "marker_module.Processor",
    "reference_compile": True,
    "problem_type": "single_label_classification",
    "output_attentions": True,
    "output_hidden_states": True,
    "return_dict": False,
    "torchscript": True,
    "dtype": "float16",
    "transformers_version": "99",
}
#: Every other key that is dropped; those left out here are read by a family, or have a test.
CHOICES |= {
    key: "evil/repository"
    for key in sorted(NOT_THE_NETWORK - CHOICES.keys())
    if key not in ("architectures", "auto_map", "sentence_transformers")
}
LABELS = ("id2label", "label2id", "auto_map")

#: What is run with the stand-in and the module on the path: once, for all checkpoints.
SCRIPT = """
import json, os, sys
import numpy as np
from pathlib import Path
from pipeline import load
from pipeline.errors import ModelError

DOCUMENTS = ["trains leave every forty minutes", "creams with aloe", "short"]
marker = Path(os.environ["MARKER"])
found = {}

def no_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        marker.write_text(f"{event} {arguments}")
        raise RuntimeError(f"{event} {arguments}")

sys.addaudithook(no_network)
for name, family, folder in json.load(open(sys.argv[1])):
    try:
        scores = load(folder, family=family, device="cpu").score("when do trains leave", DOCUMENTS)
        result = scores.tolist()
    except ModelError as error:
        result = str(error)
    found[name] = [result, marker.read_text() if marker.exists() else None]
    marker.unlink(missing_ok=True)
from transformers import AutoConfig, AutoModel
try:  # the control: transformers by itself does ask
    AutoModel.from_config(AutoConfig.for_model("bert", _attn_implementation="evil/kernel"))
except Exception:
    pass
found["control"] = [None, marker.read_text() if marker.exists() else None]
marker.unlink(missing_ok=True)
print(json.dumps(found))
"""


def bi_encoder(folder: Path) -> Path:
    shutil.copytree(GOLDENS / "ms-marco-minilm-tiny", folder)
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": path}
        for kind, path in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    kept = {k.removeprefix("bert."): v for k, v in tensors.items() if k.startswith("bert.")}
    save_file(kept, folder / "model.safetensors")
    return folder


def chat(folder: Path) -> Path:
    from tests.rerankers.test_pairwise import write as write_chat

    return write_chat(folder)


def page_reader(folder: Path) -> Path:
    from tests.rerankers.test_mono_qwen2_vl import write_base

    folder.mkdir()
    return write_base(folder)


def golden(name: str) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(GOLDENS / name, folder))


#: A checkpoint for every family that needs one.
CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "bi_encoder": bi_encoder,
    "bidirectional_decoder": golden("llama-nemotron-rerank-tiny"),
    "cross_encoder": golden("bge-reranker-tiny"),
    "decoder_classifier": golden("qwen3-seq-cls-tiny"),
    "jina_m0": golden("jina-reranker-m0"),
    "jina_v1": golden("jina-reranker-v1-turbo-tiny"),
    "jina_v2": golden("jina-reranker-v2-tiny"),
    "jina_v3": golden("jina-reranker-v3"),
    "late_interaction": golden("jina-colbert-v2-tiny"),
    "listwise_generation": chat,
    "mono_qwen2_vl": page_reader,
    "pairwise": chat,
    "qwen3_reranker": golden("qwen3-reranker-tiny"),
    "qwen3_vl_reranker": golden("qwen3-vl-reranker-tiny"),
    "token_logit": golden("zerank-tiny"),
}


def planted(config: Any, keys: dict[str, Any]) -> Any:
    """The keys at the top of a configuration and in every one inside it."""
    inside = {
        key: planted(value, keys) if isinstance(value, dict) and key not in LABELS else value
        for key, value in config.items()
    }
    return inside | keys


def copy_with(folder: Path, name: str, keys: dict[str, Any]) -> Path:
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-{name}")))
    for file, more in (("config.json", keys), ("tokenizer_config.json", TOKENIZER)):
        data = json.loads((copy / file).read_text("utf-8"))
        data = planted(data, keys) if file == "config.json" else data | more
        (copy / file).write_text(json.dumps(data), "utf-8")
    return copy


#: What libraries read beside config.json, with what would make them import or fetch something.
CODE = {
    "trust_remote_code": True,
    "auto_map": {
        "AutoProcessor": "evil/repository--marker_module.Thing",
        "AutoImageProcessor": "marker_module.Thing",
        "AutoTokenizer": ["marker_module.Thing", "marker_module.Thing"],
    },
    "processor_class": "marker_module.Thing",
    "image_processor_type": "marker_module.Thing",
    "video_processor_type": "marker_module.Thing",
    "feature_extractor_type": "marker_module.Thing",
    "tokenizer_class": "marker_module.Thing",
    "custom_generate": "evil/repository",
}
ARGUMENTS = {"trust_remote_code": True, "attn_implementation": "evil/kernel"}
FILES: dict[str, dict[str, Any]] = {
    "tokenizer_config.json": CODE,
    "preprocessor_config.json": CODE,
    "processor_config.json": CODE,
    "video_preprocessor_config.json": CODE,
    "generation_config.json": CODE,
    "sentence_bert_config.json": {
        "model_args": ARGUMENTS,
        "tokenizer_args": {"trust_remote_code": True},
        "config_args": {"trust_remote_code": True},
    },
    "adapter_config.json": {
        "base_model_name_or_path": "evil/repository",
        "auto_mapping": {"base_model_class": "Thing", "parent_library": "marker_module"},
        "megatron_core": "marker_module",
    },
}


def with_files(folder: Path) -> Path:
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-files")))
    for name, keys in FILES.items():
        path = copy / name
        data = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps(data | keys), "utf-8")
    (copy / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    (copy / "marker_module.py").write_text(IMPORTED)
    return copy


TOKENIZER = {
    "auto_map": {"AutoTokenizer": ["marker_module.Tokenizer", None]},
    "tokenizer_class": "marker_module.Tokenizer",
    "chat_template": "{{ ''.__class__.__mro__ }}",
}
AUTO_MAP = {
    "auto_map": {
        name: "marker_module.Thing"
        for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    }
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process that has the stand-in and the module on its path, and no hub."""
    path = tmp_path_factory.mktemp("path")
    (path / "kernels").mkdir()
    (path / "kernels/__init__.py").write_text(KERNELS)
    (path / "kernels-0.18.5.dist-info").mkdir()
    (path / "kernels-0.18.5.dist-info/METADATA").write_text("Name: kernels\nVersion: 0.18.5\n")
    (path / "marker_module.py").write_text(IMPORTED)
    return os.environ | {
        "PYTHONPATH": f"{ROOT}:{path}",
        "MARKER": str(path / "marker"),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder per family."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: make(folder / name) for name, make in CHECKPOINTS.items()}


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
    checkpoints: dict[str, Path],
) -> dict[str, Any]:
    """Scores or the refusal of every checkpoint, and what was written to the marker meanwhile."""
    asked = []
    for family, folder in checkpoints.items():
        asked.append([family, family, folder])
        asked.append([f"{family}+choices", family, copy_with(folder, "choices", CHOICES)])
        asked.append([f"{family}+auto_map", family, copy_with(folder, "auto_map", AUTO_MAP)])
        asked.append([f"{family}+files", family, with_files(folder)])
    for number, (key, value) in enumerate(CHOICES.items()):
        copy = copy_with(checkpoints["qwen3_reranker"], f"one{number}", {key: value})
        asked.append([f"qwen3_reranker+{key}", "qwen3_reranker", copy])
    file = tmp_path_factory.mktemp("asked") / "asked.json"
    file.write_text(json.dumps(asked, default=str))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)],
        env=environment, cwd=file.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_every_family_with_weights_is_covered() -> None:
    assert {name for name in names() if issubclass(find(name), WeightedReranker)} == set(
        CHECKPOINTS
    )


def test_the_stand_in_notices_what_transformers_asks_for(found: dict[str, Any]) -> None:
    assert found["control"][1] == "kernel evil/kernel"


@pytest.mark.parametrize("family", sorted(CHECKPOINTS))
def test_keys_that_choose_code_change_nothing(family: str, found: dict[str, Any]) -> None:
    plain, marker = found[family]
    assert marker is None
    assert not isinstance(plain, str), plain
    # NaN of the family that reads page images only is equal to itself as text.
    assert json.dumps(found[f"{family}+choices"]) == json.dumps([plain, None])


@pytest.mark.parametrize("family", sorted(CHECKPOINTS))
def test_code_beside_a_network_is_passed_over_or_refused(
    family: str, found: dict[str, Any]
) -> None:
    result, marker = found[f"{family}+auto_map"]
    assert marker is None
    if isinstance(result, str):
        assert "code of its own" in result or "family runs" in result
    else:
        assert json.dumps(result) == json.dumps(found[family][0])


@pytest.mark.parametrize("family", sorted(CHECKPOINTS))
def test_files_beside_a_network_choose_no_code(family: str, found: dict[str, Any]) -> None:
    """Tokenizers, processors, generation, arguments of libraries, templates: data, or refused."""
    result, marker = found[f"{family}+files"]
    assert marker is None
    if isinstance(result, str):
        assert any(name in result for name in (*FILES, "chat_template")), result
    else:
        assert json.dumps(result) == json.dumps(found[family][0])


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_each_of_the_keys_alone_changes_nothing(key: str, found: dict[str, Any]) -> None:
    assert found[f"qwen3_reranker+{key}"] == found["qwen3_reranker"]


@pytest.mark.parametrize(
    "key", ["quantization_config", "quantization", "compression_config", "nested", "file"]
)
@pytest.mark.parametrize("family", sorted(CHECKPOINTS))
def test_quantised_checkpoints_are_refused_by_name(
    family: str, key: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from pipeline.config import ModelConfig
    from pipeline.engine.build import build_reranker

    folder = Path(shutil.copytree(checkpoints[family], tmp_path / "model"))
    says = {"quant_method": "gptq", "bits": 4}
    if key == "file":
        (folder / "quantize_config.json").write_text(json.dumps(says))
    else:
        more = {"layers": [{"quantization_config": says}]} if key == "nested" else {key: says}
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps(config | more), "utf-8")
    name = {"nested": "quantization_config", "file": "quantize_config"}.get(key, key)
    with pytest.raises(ModelError, match=rf"(?s){name}.*quantised"):
        build_reranker(ModelConfig(family=family, weights=str(folder)))


#: Runs, with a Ray of their own for those that want one.
RUNS = """
import json, logging, sys
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
import ray

ray.init(num_cpus=4, num_gpus=0, include_dashboard=False, log_to_driver=False,
         logging_level=logging.ERROR, object_store_memory=2**28)
print(json.dumps([
    execute(prepare(JobConfig.model_validate(job))).folder for job in json.load(open(sys.argv[1]))
]))
"""


def test_runs_are_the_same_with_the_keys(
    environment: dict[str, str], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """In this process, and with driver, encoders and replicas in processes of their own."""
    import pyarrow.parquet as pq

    source = write(tmp_path / "in.parquet", long_table(3, 3))
    jobs, families = [], ("cross_encoder", "qwen3_reranker")
    for family in families:
        for mode, keys in (("in_process", {}), ("in_process", CHOICES), ("cluster", CHOICES)):
            folder = copy_with(checkpoints[family], f"run{len(jobs)}", keys)
            jobs.append(
                {
                    "model": {"family": family, "weights": str(folder)},
                    "input": {"path": str(source)},
                    "output": {"path": str(tmp_path / f"out{len(jobs)}")},
                    "replicas": {"min": 1, "num_gpus": 0, "num_cpus": 0.5},
                    "ray": {"mode": mode, "read_cpus": 0.5},
                    "report": {"page": False},
                }
            )
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, "-c", RUNS, "jobs.json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not Path(environment["MARKER"]).exists()
    tables = [
        pq.ParquetDataset(f"{folder}/ranked").read().to_pylist()
        for folder in json.loads(done.stdout.splitlines()[-1])
    ]
    assert len(tables[0]) == long_table(3, 3).num_rows
    for place in range(0, len(tables), 3):
        assert tables[place] == tables[place + 1] == tables[place + 2]


def test_every_key_that_is_dropped_is_documented() -> None:
    text = (ROOT / "docs/checkpoints.md").read_text("utf-8")
    assert [key for key in sorted(NOT_THE_NETWORK) if f"`{key}`" not in text] == []


def test_what_describes_the_network_is_kept_at_every_depth() -> None:
    config = {
        "hidden_size": 8,
        "model_type": "bert",
        "rope_parameters": {"rope_theta": 1.0, "_attn_implementation": "evil/kernel"},
        "vision_config": {"model_type": "x", "depth": 2, "layers": [{"attn_implementation": "e"}]},
    }
    assert plain_config(config) == {
        "hidden_size": 8,
        "rope_parameters": {"rope_theta": 1.0},
        "vision_config": {"model_type": "x", "depth": 2, "layers": [{}]},
    }


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"hidden_act": "xielu"}, "hidden_act 'xielu'"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"problem_type": "regression", "num_hidden_layers": None}, "num_hidden_layers"),
    ],
)
def test_a_value_that_is_none_is_refused_in_a_sentence(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        network_config(config, kind="bert", where="here/config.json")


def test_an_activation_that_nobody_knows_is_refused(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from pipeline.api import load

    folder = Path(shutil.copytree(checkpoints["cross_encoder"], tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    changed = config | {"hidden_act": "os.system"}
    (folder / "config.json").write_text(json.dumps(changed), "utf-8")
    with pytest.raises(ModelError, match=r"config\.json.*os\.system"):
        load(str(folder), family="cross_encoder", device="cpu")


def test_nothing_is_fetched_while_a_network_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
    from transformers.integrations import hub_kernels

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    before = (constants.HF_HUB_OFFLINE, hub_kernels._kernels_enabled)
    with nothing_fetched():
        with pytest.raises(LocalEntryNotFoundError) as error:
            hf_hub_download("evil/repository", "config.json")
        assert isinstance(error.value.__cause__, OfflineModeIsEnabled)
        with pytest.raises(ModelError, match="kernel 'evil/kernel'"):
            hub_kernels.get_kernel_hub("evil/kernel")
    assert before == (constants.HF_HUB_OFFLINE, hub_kernels._kernels_enabled)
