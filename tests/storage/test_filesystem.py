"""What libraries of other stores raise is told as an error that names the path."""

from __future__ import annotations

from collections.abc import Callable

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import AccessDeniedError, StorageError
from pipeline.storage import store


class Broken(MemoryFileSystem):
    """A store that cannot be reached, or that refuses."""

    protocol = "broken"
    cachable = False

    def _fail(self, path: str, *_: object, **__: object) -> None:
        if "locked" in path:
            raise PermissionError(13, "no entry")
        raise ConnectionAbortedError("the line\nis cut")

    info = ls = find = glob = isdir = cat_file = pipe_file = rm_file = open = _fail


@pytest.fixture(autouse=True)
def _registered() -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)


@pytest.mark.parametrize(
    "call",
    [
        store.identify,
        store.exists,
        store.is_folder,
        store.list_names,
        store.list_entries,
        store.read_bytes,
        store.list_files,
        store.files_below,
        lambda path: store.write_whole(path, b"x"),
        lambda path: store.create_if_absent(path, b"x"),
    ],
)
def test_what_a_library_raises_names_the_path(call: Callable[[str], object]) -> None:
    with pytest.raises(StorageError, match=r"^broken://a/b: ConnectionAbortedError: the line is"):
        call("broken://a/b")
    with pytest.raises(AccessDeniedError, match="broken://locked/b"):
        call("broken://locked/b")
