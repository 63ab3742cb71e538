"""Other ways to score the same lists, and which models they know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from benchmarks.harness.contender import Contender
from benchmarks.peers.backends import VARIABLE, Backend, interpreter
from pipeline.bench.models.shapes import Shape
from pipeline.bench.subject import Subject
from pipeline.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A contender that is not this package's engine.

    Attributes:
        suits: whether it can run a shape.
        make: load it.
        needs: the Python packages that it needs beyond this one's own.
        extra: of ours that installs them.
        gpu_only: whether it takes part on CPU only where it is asked for by name.
        asked_only: whether it takes part only where it is asked for by name.
        elsewhere: whether it runs in an environment of its own, which a variable names.
    """

    suits: Callable[[Shape], bool]
    make: Callable[[Subject], Contender]
    needs: tuple[str, ...] = ()
    extra: str = "bench"
    gpu_only: bool = False
    asked_only: bool = False
    elsewhere: bool = False


def _predict(batch_size: int) -> Callable[[Subject], Contender]:
    def make(subject: Subject) -> Contender:
        from benchmarks.peers.cross_encoder_library import Predict

        return Predict(subject, batch_size=batch_size)

    return make


def _rank(subject: Subject) -> Contender:
    from benchmarks.peers.cross_encoder_library import Rank

    return Rank(subject)


def _jina_v2(subject: Subject) -> Contender:
    from benchmarks.peers.jina_v2_policy import ArrivalOrder

    return ArrivalOrder(subject)


def _jina_v3(subject: Subject) -> Contender:
    from benchmarks.peers.jina_v3_policy import WindowByWindow

    return WindowByWindow(subject)


def _jina_m0(subject: Subject) -> Contender:
    from benchmarks.peers.jina_m0_policy import BatchesOfEight

    return BatchesOfEight(subject)


def _onnxruntime(*, int8: bool) -> Callable[[Subject], Contender]:
    def make(subject: Subject) -> Contender:
        from benchmarks.peers.runtimes import OnnxRuntime

        return OnnxRuntime(subject, int8=int8)

    return make


def _openvino(precision: str) -> Callable[[Subject], Contender]:
    def make(subject: Subject) -> Contender:
        from benchmarks.peers.runtimes import OpenVino

        return OpenVino(subject, precision=precision)

    return make


def _backend(backend: str, precision: str) -> Peer:
    def make(subject: Subject) -> Contender:
        return Backend(subject, backend=backend, precision=precision, python=interpreter() or "")

    return Peer(suits=_has_logits, make=make, asked_only=True, elsewhere=True)


def _runtime(make: Callable[[Subject], Contender], *needs: str) -> Peer:
    """A runtime that is not torch: on CPU, for the logits of cross-encoders."""
    return Peer(suits=_has_logits, make=make, needs=needs, extra="runtimes", asked_only=True)


def _has_logits(shape: Shape) -> bool:
    return shape.twin is not None and shape.family == "cross_encoder"


def _has_twin(shape: Shape) -> bool:
    return shape.twin is not None


PEERS: Final[dict[str, Peer]] = {
    "st-predict": Peer(suits=_has_twin, make=_predict(32), needs=("sentence_transformers",)),
    # What suits a GPU's size is far too large for a CPU's caches.
    "st-predict-256": Peer(
        suits=_has_twin, make=_predict(256), needs=("sentence_transformers",), gpu_only=True
    ),
    "st-rank": Peer(suits=_has_twin, make=_rank, needs=("sentence_transformers",)),
    "jina-v2-policy": Peer(
        suits=lambda shape: shape.twin is not None or shape.family == "jina_v1", make=_jina_v2
    ),
    "onnxruntime": _runtime(_onnxruntime(int8=False), "onnxruntime", "onnx"),
    "onnxruntime-int8": _runtime(_onnxruntime(int8=True), "onnxruntime", "onnx"),
    "openvino": _runtime(_openvino("float32"), "openvino"),
    "openvino-bfloat16": _runtime(_openvino("bfloat16"), "openvino"),
    "openvino-int8": _runtime(_openvino("int8"), "openvino", "nncf"),
    "st-onnx": _backend("onnx", "float32"),
    "st-onnx-int8": _backend("onnx", "int8"),
    "st-openvino": _backend("openvino", "float32"),
    "st-openvino-bfloat16": _backend("openvino", "bfloat16"),
    "st-openvino-int8": _backend("openvino", "int8"),
    "jina-v3-policy": Peer(suits=lambda shape: shape.family == "jina_v3", make=_jina_v3),
    "jina-m0-policy": Peer(suits=lambda shape: shape.family == "jina_m0", make=_jina_m0),
}


def available(shape: Shape, device: str) -> list[str]:
    """Peers that take part unless told otherwise: those that can run a shape here, by name."""
    return [
        name
        for name, peer in PEERS.items()
        if peer.suits(shape)
        and (device == "cuda" or not peer.gpu_only)
        and not (peer.asked_only or _missing(peer))
    ]


def check(name: str, shape: Shape) -> None:
    """Refuse a peer that cannot take part.

    Raises:
        ConfigurationError: it is unknown, does not know the model, or is not installed.
    """
    if name not in PEERS:
        raise ConfigurationError(f"--peers: no peer '{name}'; there are {', '.join(PEERS)}")
    peer = PEERS[name]
    if not peer.suits(shape):
        raise ConfigurationError(f"--peers: {name} cannot run the model {shape.name}")
    if peer.elsewhere and interpreter() is None:
        raise ConfigurationError(
            f"--peers: {name} runs in an environment of its own; build it with "
            f"benchmarks/peers/environment.sh and set {VARIABLE} to its interpreter, or leave the "
            "peer out"
        )
    missing = _missing(peer)
    if missing:
        packages = " and ".join(package.replace("_", "-") for package in missing)
        raise ConfigurationError(
            f"--peers: {name} needs the package {packages}; install the extra `{peer.extra}`, or "
            "leave it out"
        )


def _missing(peer: Peer) -> list[str]:
    """Packages that a peer needs and that are not there."""
    return [package for package in peer.needs if find_spec(package) is None]
