"""Models by card, by folder and by hub id: here, elsewhere, or nowhere."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline.checkpoints import hub
from pipeline.config import ModelConfig
from pipeline.doctor.finding import Finding, looked
from pipeline.doctor.weights import weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def of(**model: str) -> dict[str, Finding]:
    return {one.subject: one for one in looked("weights", lambda: weights(ModelConfig(**model)))}


def test_a_checkpoint_that_lies_here(goldens: Path) -> None:
    folder = goldens / "ms-marco-minilm-tiny"
    found = of(weights=str(folder))
    assert found["weights"].state == "ok"
    assert found["licence"].state == "note"
    digest = found["weights"].found.rpartition(" ")[2]
    wrong = of(weights=str(folder), digest="0" * 64)
    assert (wrong["weights"].state, digest in wrong["weights"].found) == ("problem", True)


def test_a_card_whose_licence_restricts_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "refusal", lambda repo: None)
    found = of(name="jina-reranker-v3")
    assert found["weights"].state == "note"
    assert "hf download jinaai/jina-reranker-v3 --revision " in found["weights"].to_do
    assert (found["licence"].state, found["licence"].found) == ("note", "CC-BY-NC-4.0")


def test_a_model_without_weights() -> None:
    assert of(name="lexical")["weights"].state == "ok"


def test_names_that_stand_for_nothing(tmp_path: Path) -> None:
    for name in ("bge-reranker-v2-m9", str(tmp_path / "none")):
        assert of(name=name)["weights"].state == "problem"
    assert of(weights=str(tmp_path))["weights"].found.endswith("so this is no checkpoint")


def test_weights_of_a_hub_that_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = of(weights="owner/name", revision=COMMIT)["weights"]
    assert (found.state, "HF_HUB_OFFLINE is set" in found.found) == ("problem", True)
    assert f"hf download owner/name --revision {COMMIT}" in found.to_do


def test_weights_in_the_cache_of_the_hub(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = tmp_path / "models--owner--name" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / COMMIT).symlink_to(goldens / "ms-marco-minilm-tiny")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = of(weights="owner/name", revision=COMMIT)["weights"]
    assert found.state == "ok", found.found
    assert "in this machine's cache" in found.found


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            403,
            "GatedRepo",
            "its publisher asks for consent; accept the licence at http://127.0.0.1:",
        ),
        (404, "RepoNotFound", "does not give it"),
        (200, "", ""),
    ],
)
def test_whether_a_hub_would_give_a_repository(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/models/owner/name/auth-check"
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        refusal = hub.refusal("owner/name")
    finally:
        server.shutdown()
        server.server_close()
    assert (refusal is None) == (status == 200)
    assert words in (refusal or "")


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "http://127.0.0.1:9 does not answer: " in (hub.refusal("owner/name") or "")
