"""A checkpoint folder in the upstream layout: configuration, tokenizer files, safetensors.

Nothing in a checkpoint is ever executed: configuration is read as JSON, weights as safetensors,
and a folder that holds only pickle files is refused.

What is read is what was planned. The driver hashes every file that matters; each process that
builds a reranker after that is given the hashes and compares them with the very bytes that it
parses, small files when they are read and weights when they are loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.checkpoints import weights_cache
from pipeline.checkpoints.checkpoint_files import (
    describing_files,
    digest_of,
    hash_files,
    read_small,
    shards,
)
from pipeline.checkpoints.safetensors_file import other_content, read_entries, read_files
from pipeline.errors import ModelError

if TYPE_CHECKING:
    import torch

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
_ABSENT = "absent"


@dataclass(frozen=True)
class Checkpoint:
    """A local checkpoint folder.

    Attributes:
        folder: where it is.
        expected: hex sha256 of every file that matters, by its name, as :attr:`files` gave them
            when the run was planned; whatever else is read is refused. None reads what is there.
        hashed: the same, as computed by the maker of this object; None: computed on first use.
        copy: whether the folder is a copy of ours, which may be fetched again.
    """

    folder: Path
    expected: Mapping[str, str] | None = field(default=None, kw_only=True)
    hashed: Mapping[str, str] | None = field(default=None, kw_only=True)
    copy: bool = field(default=False, kw_only=True)
    _seen: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json`` as plain data."""
        return self.table("config.json", required=True)

    def read_bytes(self, name: str) -> bytes | None:
        """Content of a small file of the folder; None where it is absent.

        Raises:
            ModelError: it is not what was planned, or cannot be read.
        """
        data = read_small(self.folder / name)
        self._check(name, _ABSENT if data is None else hashlib.sha256(data).hexdigest())
        return data

    def require_bytes(self, name: str) -> bytes:
        """As :meth:`read_bytes`, of a file that must be there.

        Raises:
            ModelError: it is not.
        """
        data = self.read_bytes(name)
        if data is None:
            self.file(name)
            raise ModelError(f"{self.folder / name}: appeared while it was read; run again")
        return data

    def json(self, name: str, *, required: bool = False) -> Any:
        """A JSON file of the folder; an empty dict where it is absent and not required.

        Raises:
            ModelError: the file is required and absent, is not JSON, or is not what was planned.
        """
        data = self.read_bytes(name)
        if data is None:
            if required:
                raise ModelError(f"{self.folder}: no {name}; a complete checkpoint folder has one")
            return {}
        try:
            return json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{self.folder / name}: not valid JSON: {error}") from None

    def table(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """As :meth:`json`, of a file that holds keys.

        Raises:
            ModelError: it holds something else.
        """
        data = self.json(name, required=required)
        if not isinstance(data, dict):
            raise ModelError(
                f"{self.folder / name}: holds {type(data).__name__}, expected a table of keys; "
                "fetch the checkpoint again"
            )
        return data

    def file(self, name: str) -> Path:
        """The path of a file that must be there; its content is not looked at.

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
        return tuple(self.file(name) for name in self._weight_names())

    def _weight_names(self) -> list[str]:
        index = self.table(_INDEX)
        if index:
            names = shards(index, self.folder / _INDEX)
        elif (self.folder / _WEIGHTS).exists():
            names = [_WEIGHTS]
        else:
            names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        if not names:
            self._refuse_pickle(self.folder)
        return names

    def _refuse_pickle(self, folder: Path) -> None:
        pickles = [name for name in _PICKLES if (folder / name).exists()]
        if pickles:
            raise ModelError(
                f"{folder}: only {pickles[0]}, a pickle file, which can run code when it is "
                'opened; convert it once in a place you trust, e.g. python -c "import torch, '
                "safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in torch.load("
                "'pytorch_model.bin', weights_only=True).items()}, 'model.safetensors')\""
            )
        raise ModelError(f"{folder}: no *.safetensors file; expected model.safetensors")

    def require_module_weights(self, folder: str) -> None:
        """Refuse a module of sentence-transformers without ``model.safetensors`` in its folder.

        Raises:
            ModelError: there is none, or only a pickle file.
        """
        if not (self.folder / folder / _WEIGHTS).exists():
            self._refuse_pickle(self.folder / folder)

    def check_sha256(self, expected: str) -> None:
        """Compare ``model.safetensors`` with a published digest.

        Raises:
            ModelError: they differ; names both.
        """
        path = self.file("model.safetensors")
        actual = self.files["model.safetensors"]
        if actual != expected.lower():
            raise ModelError(
                f"{path}: sha256 is {actual}, expected {expected}; the file is damaged or is "
                "another revision: fetch it again, or correct model.sha256"
            )

    @cached_property
    def files(self) -> dict[str, str]:
        """Hex sha256 of the weights and of every file that changes scores, by name.

        Raises:
            ModelError: a file that was read already has become another one.
        """
        if self.expected is not None:
            return dict(self.expected)
        known = dict(self.hashed or {})
        read = {name for name, found in self._seen.items() if found != _ABSENT}
        wanted = {*describing_files(self.folder), *self._weight_names(), *read}
        files = known | hash_files(self.folder, wanted - known.keys())
        for name, found in self._seen.items():
            if files.get(name, _ABSENT) != found:
                raise _changing(self.folder / name)
        return files

    @cached_property
    def digest(self) -> str:
        """sha256 over the weights and every file that changes scores."""
        return digest_of(self.files)

    def check_digest(self, expected: str) -> None:
        """Compare :attr:`digest` with that of a card.

        Raises:
            ModelError: they differ; names both.
        """
        if self.digest != expected.lower():
            raise ModelError(
                f"{self.folder}: the digest of its {len(self.files)} files is {self.digest}, "
                f"expected {expected}: the checkpoint is not the one that the card was written "
                "for; put that one back, or write a new card (`rerank models add`)"
            )

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor by its stored name, on the CPU, in its stored dtype.

        Raises:
            ModelError: a file is damaged or is not what was planned; perhaps at the very end, so
                no tensor may be used before that.
        """
        yield from self._read_weights(self._weight_names())

    def module_tensors(self, folder: str) -> Iterator[tuple[str, torch.Tensor]]:
        """As :meth:`tensors`, of a module of sentence-transformers in a folder such as 2_Dense.

        Raises:
            ModelError: as there; or it has no weights.
        """
        self.require_module_weights(folder)
        yield from self._read_weights([f"{folder}/{_WEIGHTS}"])

    def _read_weights(self, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        wanted = []
        for name in names:
            path = self.file(name)
            if self.expected is not None and name not in self.expected:
                self._refuse(name, _ABSENT, "a new file")
            wanted.append((path, None if self.expected is None else self.expected[name]))
        try:
            yield from read_files(wanted)
        except ModelError:
            self._drop_damaged_copy()
            raise

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Sizes of every stored tensor, by the headers alone, before their content is verified."""
        return {
            entry.name: entry.shape for path in self.weight_files for entry in read_entries(path)
        }

    def _check(self, name: str, found: str) -> None:
        """Compare a file that was read with the plan, or with what it was when read before."""
        if self.expected is not None:
            planned = self.expected.get(name, _ABSENT)
            if found != planned:
                self._refuse(name, planned, found)
            return
        before = self._seen.setdefault(name, found)
        hashed: Mapping[str, str] | None = self.__dict__.get("files")
        if found != before or (hashed is not None and hashed.get(name, _ABSENT) != found):
            raise _changing(self.folder / name)

    def _refuse(self, name: str, planned: str, found: str) -> None:
        self._drop_damaged_copy()
        raise other_content(self.folder / name, planned, found)

    def _drop_damaged_copy(self) -> None:
        if self.copy and self.expected is not None:
            weights_cache.set_aside(self.folder)


def _changing(path: Path) -> ModelError:
    return ModelError(
        f"{path}: became another file while the run was planned; wait until the checkpoint is "
        "complete, and start the run again"
    )
