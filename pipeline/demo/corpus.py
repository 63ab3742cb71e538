"""The demo's corpus: what Python says about its own standard library.

Docstrings of public modules, classes, functions and methods, gathered from the interpreter itself,
so the demo needs no download and no licence beyond Python's. One Python version on one platform
always gives the same documents, whatever its environment.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import io
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import BuiltinMethodType, MethodType, ModuleType
from typing import Any, Final

from pipeline.errors import RunFailedError

#: Modules that act when they are imported, describe nothing that a program would call, or that
#: many builds leave out (tkinter), which would make the corpus a matter of the build.
_SKIPPED: Final = frozenset(
    [
        "antigravity", "distutils", "encodings", "ensurepip", "genericpath", "idlelib", "lib2to3",
        "nt", "ntpath", "posix", "posixpath", "pydoc_data", "readline", "rlcompleter",
        "sre_compile", "sre_constants", "sre_parse", "this", "tkinter", "turtle", "turtledemo",
    ]
)  # fmt: skip
_TESTS: Final = frozenset(["test", "tests"])

#: Private modules that implement a public one of another name.
_PUBLIC_HOME: Final = {
    "_io": "io",
    "_thread": "threading",
    "genericpath": "os",
    "posix": "os",
    "posixpath": "os",
}

#: Written by the interpreter or a decorator, not by a person, about every such object.
_GENERATED: Final = re.compile(
    r"Alias for field number \d+|An enumeration\.|Initialize self\.\s+See help\(type.*"
)
#: The address of an object in memory, which differs from process to process.
_ADDRESS: Final = re.compile(r"\bat 0x[0-9a-fA-F]+")
#: Defaults of sysconfig's functions, set by how this interpreter was installed.
_SCHEMES: Final = frozenset(sysconfig.get_scheme_names())
_PLAIN_TYPES: Final = frozenset([bool, int, float, str, bytes, type(None)])
_LONGEST_SIGNATURE: Final = 160


@dataclass(frozen=True, kw_only=True)
class Document:
    """One documented object.

    Attributes:
        doc_id: its public dotted name, such as ``zipfile.ZipFile.open``.
        title: the name with its call signature, where that is known.
        text: its docstring without indentation. Like the title and text of BEIR's collections,
            the two are indexed and scored together, so the text does not repeat the title.
    """

    doc_id: str
    title: str
    text: str


@dataclass(frozen=True)
class _Named:
    """A public object under one of the names that reach it."""

    name: str
    value: Any
    is_method: bool = False

    @property
    def last(self) -> str:
        """The name without its path."""
        return self.name.rpartition(".")[2]

    @property
    def is_alias(self) -> bool:
        """Whether the object calls itself something else."""
        return bool(getattr(self.value, "__name__", self.last).rpartition(".")[2] != self.last)

    def order(self) -> tuple[bool, int, int, str]:
        """Its own name before an alias, then the shortest path."""
        return self.is_alias, self.name.count("."), len(self.name), self.name


class _Omitted:
    """Stands in a signature for a default that is an object or differs between machines."""

    def __repr__(self) -> str:
        return "..."


#: Run by an isolated interpreter; the package's folder is on its path for one import only, so that
#: nothing there can stand in for a module of the standard library.
_CHILD: Final = """\
import sys
sys.path.append(sys.argv[1])
from pipeline.demo.corpus import _print_documents
sys.path.remove(sys.argv[1])
_print_documents()
"""


def standard_library_documents() -> list[Document]:
    """Gather every public documented object of the standard library.

    An object that several names reach is listed once, under the shortest path that ends in its own
    name. What a class merely inherits from a public class is listed with that class; what it
    inherits from a private one is listed as its own. A module that cannot be imported here is left
    out.

    It takes a second or two, in a Python process of its own: here, libraries may have replaced
    parts of the standard library, and importing all of it would leave traces.

    Returns:
        The documents, sorted by ``doc_id``.

    Raises:
        RunFailedError: the other process failed; its standard error is in the message.
    """
    isolated = [sys.executable, "-I", "-S", "-W", "ignore"]
    package = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [*isolated, "-c", _CHILD, package], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RunFailedError(
            f"{shlex.join(isolated)} could not gather the standard library's documentation:\n"
            f"{done.stderr}"
        )
    return [Document(**row) for row in json.loads(done.stdout)]


def _print_documents() -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        documents = _gathered()
    print(json.dumps([asdict(document) for document in documents]))


def _gathered() -> list[Document]:
    modules = list(_modules())
    top_level = _shortest(found for place, module in modules for found in _public(place, module))
    classes = [found for found in top_level if inspect.isclass(found.value)]
    # socket.SocketType is a second name of the private base of socket.socket, which stays private.
    public = {id(found.value) for found in classes if not found.is_alias}
    members = (member for found in classes for member in _members(found, public))
    documents: dict[str, Document] = {}
    for found in _shortest([*(_Named(*pair) for pair in modules), *top_level, *members]):
        text = _docstring(found.value)
        if text and found.name not in documents:
            title = found.name + _signature(found)
            documents[found.name] = Document(doc_id=found.name, title=title, text=text)
    return [documents[name] for name in sorted(documents)]


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Public modules by the name that a user imports them by, packages before their content."""
    for name in sorted(sys.stdlib_module_names - _SKIPPED):
        if not name.startswith("_"):
            yield from _walk(name)


def _walk(name: str) -> Iterator[tuple[str, ModuleType]]:
    module = _imported(name)
    if module is None:
        return
    yield name, module
    if name == "os":
        yield "os.path", module.path
    inner = sorted(found.name for found in pkgutil.iter_modules(getattr(module, "__path__", [])))
    for last in inner:
        if not last.startswith("_") and last not in _TESTS:
            yield from _walk(f"{name}.{last}")


def _imported(name: str) -> ModuleType | None:
    """The module, or None where this build of Python cannot import it."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit):  # a module may refuse a platform in any way
        return None


def _public(place: str, module: ModuleType) -> Iterator[_Named]:
    """The module's own functions and classes, not what it imported from elsewhere."""
    exported = frozenset(getattr(module, "__all__", ()))
    names = exported
    if not exported or hasattr(module, "__path__"):
        # Packages such as asyncio join the lists of their modules and miss some names.
        names = exported.union(name for name in vars(module) if not name.startswith("_"))
    for name in sorted(names):
        value = getattr(module, name, None)
        function = _unbound(value)
        if callable(function) and _is_own(function, place, is_exported=name in exported):
            path = name if place == "builtins" else f"{place}.{name}"
            yield _Named(path, function, is_method=function is not value)


def _is_own(value: Any, place: str, *, is_exported: bool) -> bool:
    home = getattr(value, "__module__", None)
    if not isinstance(home, str):
        return True
    if is_exported and home.startswith("_"):
        return True  # secrets.compare_digest says that it is from _hashlib
    home = _PUBLIC_HOME.get(home, home.lstrip("_"))
    if place == "builtins":
        # open() says that it is from io; what a shell or gettext put here says something else.
        return home in ("builtins", "io")
    if home == "builtins":
        # A type that only this module gives a name to, such as types.FunctionType.
        return inspect.isclass(value) and getattr(builtins, value.__name__, None) is not value
    return home.partition(".")[0] == place.partition(".")[0]


def _members(owner: _Named, public: set[int]) -> Iterator[_Named]:
    """Public methods and properties, those of private base classes included."""
    for base in owner.value.__mro__:
        if base is not owner.value and (id(base) in public or base is object):
            continue
        for name, raw in sorted(vars(base).items()):
            if name.startswith("_"):
                continue
            is_method = not isinstance(raw, staticmethod)
            value = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
            if not (callable(value) or inspect.isdatadescriptor(value)):
                continue
            inherited = [vars(b)[name] for b in base.__mro__[1:] if name in vars(b)]
            if _docstring(value) not in map(_docstring, inherited):
                yield _Named(f"{owner.name}.{name}", value, is_method)


def _shortest(found: Iterable[_Named]) -> list[_Named]:
    """Each object once, best name first."""
    best: dict[int, _Named] = {}
    for named in sorted(found, key=_Named.order):
        best.setdefault(id(named.value), named)
    return list(best.values())


def _unbound(value: Any) -> Any:
    """``random.choice`` is a method of a hidden instance; its function is what is documented."""
    if isinstance(value, MethodType):
        return value.__func__
    owner = getattr(value, "__self__", None)
    if isinstance(value, BuiltinMethodType) and not isinstance(owner, (ModuleType, type)):
        return getattr(type(owner), value.__name__, value)
    return value


def _docstring(value: Any) -> str:
    """The object's own docstring, with that of a class's ``__init__``; empty where it has none."""
    own = _written(value)
    if inspect.isclass(value) and "__init__" in vars(value):
        own = f"{own}\n\n{_written(vars(value)['__init__'])}".strip()
    return own


def _written(value: Any) -> str:
    text = getattr(value, "__doc__", None)
    if not isinstance(text, str) or (
        not inspect.isclass(value) and text == getattr(type(value), "__doc__", None)
    ):
        return ""
    text = inspect.cleandoc(text).strip()
    return "" if _GENERATED.fullmatch(text) or _ADDRESS.search(text) else text


def _signature(found: _Named) -> str:
    """``(name, mode='r')``, without annotations and ``self``; empty where it is not known."""
    if not (inspect.isclass(found.value) or inspect.isroutine(found.value)):
        return ""
    try:
        parameters = list(inspect.signature(found.value).parameters.values())
    except (ValueError, TypeError, AttributeError, NameError):
        return ""
    if found.is_method and parameters and parameters[0].name in ("self", "cls", "type"):
        parameters = parameters[1:]
    shown = str(inspect.Signature([_plain(parameter) for parameter in parameters]))
    return shown if len(shown) <= _LONGEST_SIGNATURE else ""


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Without annotation, and with a default only where it is the same on every machine."""
    default = parameter.default
    is_stable = type(default) in _PLAIN_TYPES and not (
        isinstance(default, str) and (Path(default).is_absolute() or default in _SCHEMES)
    )
    if default is not inspect.Parameter.empty and not is_stable:
        default = _Omitted()
    return parameter.replace(default=default, annotation=inspect.Parameter.empty)
