"""The command as a user types it: output, exit codes, and what it does not import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.machine import cpus
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[1]


def rerank(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def job(tmp_path: Path, **sections: object) -> Path:
    path = write(tmp_path / "in.parquet", long_table(queries=30), row_group_size=20)
    data = {
        "model": {"name": "lexical"},
        "input": {"path": str(path)},
        "output": {"path": str(tmp_path / "out")},
        "units": {"documents": 20},
        "report": {"page": False},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(data | sections))
    return file


def test_run_then_status_then_run_again(tmp_path: Path) -> None:
    file = job(tmp_path, ray={"mode": "cluster"})
    first = rerank("run", "-c", file)
    assert first.returncode == 0, first.stderr
    assert "30 queries" in first.stdout
    assert f"replicas   {cpus()} on CPU, 1 thread" in first.stdout, "nothing is set"
    assert "ray" not in first.stderr.lower(), first.stderr
    state = rerank("status", tmp_path / "out", "--json")
    found = json.loads(state.stdout)
    assert found["finished"]
    assert found["units"] == found["units_committed"] > 1
    assert found["report"]["placement"].startswith(f"{cpus()} on CPU, 1 thread")
    assert rerank("status", tmp_path / "out").stdout.count("\n") >= 6
    again = rerank("run", "-c", file)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_the_job_module_is_the_same_command(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "jobs.rerank", "-c", str(job(tmp_path)), "--dry-run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == rerank("run", "-c", tmp_path / "job.yaml", "--dry-run").stdout
    assert not (tmp_path / "out").exists()


def test_print_config_round_trips(tmp_path: Path) -> None:
    done = rerank("run", "-c", job(tmp_path), "--set", "replicas.min=3", "--print-config")
    assert yaml.safe_load(done.stdout)["replicas"]["min"] == 3
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert rerank("run", "-c", tmp_path / "again.yaml", "--print-config").stdout == done.stdout


def test_plan_lists_units_without_torch_or_ray(tmp_path: Path) -> None:
    file = job(tmp_path)
    program = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        f"r = CliRunner().invoke(app, ['plan', '-c', {str(file)!r}, '--json']);"
        "assert r.exit_code == 0, r.output;"
        "heavy = {'torch', 'ray', 'transformers', 's3fs', 'botocore'} & set(sys.modules);"
        "assert not heavy, heavy; print(r.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    units = json.loads(done.stdout)["units"]
    assert len(units) > 1
    assert not any(unit["committed"] for unit in units)
    assert "to do" in rerank("plan", "-c", file).stdout


def test_a_driver_knows_the_sizes_of_weights_without_torch(tmp_path: Path, goldens: Path) -> None:
    """Replicas in processes of their own need it; a driver would import it for nothing."""
    model = f"model={{family: cross_encoder, weights: {goldens / 'ms-marco-minilm-tiny'}}}"
    words = ["run", "-c", str(job(tmp_path)), "--set", model, "--dry-run"]
    program = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        f"r = CliRunner().invoke(app, {words!r});"
        "assert r.exit_code == 0, r.output;"
        "heavy = {'torch', 'ray', 'transformers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_models_lists_every_card() -> None:
    names = {card["name"] for card in json.loads(rerank("models", "--json").stdout)}
    assert names == {path.stem for path in ROOT.glob("conf/models/*.yaml")}
    assert "bge-reranker-v2-m3" in rerank("models").stdout


def test_models_are_filtered_and_shown() -> None:
    """In this process: what is printed is all that is asked."""
    found = CliRunner().invoke(app, ["models", "JINA", "--group", "listwise", "--json"])
    listed = json.loads(found.output)
    assert {card["group"] for card in listed} == {"listwise"}
    assert "jina-reranker-v3" in {card["name"] for card in listed}
    words = ["models", "list", "--tokens", "9000", "--licence", "apache", "--family"]
    assert "qwen3" not in CliRunner().invoke(app, [*words, "qwen3_reranker"]).output
    for line in (["models", "jina-reranker-v3"], ["models", "show", "jina-reranker-v3"]):
        assert "050e171c4f75dfec5b648ed8470a2475e5a30f30" in CliRunner().invoke(app, line).output
    for line in (["models", "nothing-like-it"], ["models", "--family", "jina"]):
        assert CliRunner().invoke(app, line).exit_code == 2


def test_verify_prints_both_columns_and_fails_on_other_weights(goldens: Path) -> None:
    weights = goldens / "ms-marco-minilm-tiny"
    done = rerank("verify", "ms-marco-minilm-l6-v2", "--weights", weights)
    assert done.returncode == 4, done.stderr
    assert "8.50071" in done.stdout
    assert "FAIL" in done.stdout
    assert "2 of 2 scores differ by more than 0.01 (logits)" in done.stdout
    assert "4 of 4 examples of 'ms-marco-minilm-l6-v2' failed" in done.stderr
    assert rerank("verify", "lexical").returncode == 2


def test_evaluate_compares_first_stage_and_reranked(tmp_path: Path) -> None:
    assert rerank("run", "-c", job(tmp_path, ray={"mode": "in_process"})).returncode == 0
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("".join(f"q{q:03d} 0 d0 {q % 3}\n" for q in range(30)))
    done = rerank("evaluate", tmp_path / "out", "--qrels", qrels)
    assert done.returncode == 0, done.stderr
    assert "nDCG@10" in done.stdout
    found = json.loads(rerank("evaluate", tmp_path / "out", "--qrels", qrels, "--json").stdout)
    assert found["comparisons"]
    trec = tmp_path / "run.trec"
    trec.write_text("q001 Q0 d0 1 2.5 tag\nq002 Q0 d1 1 1.0 tag\n")
    alone = rerank("evaluate", trec, "--qrels", qrels, "--measure", "RR@10")
    assert "RR@10" in alone.stdout, alone.stderr


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["engine.dtyp=float32"], 2, "unknown key 'engine.dtyp'; did you mean 'dtype'?"),
        (["model.name=lexicall"], 2, "no model card 'lexicall'; did you mean 'lexical'?"),
        (["model.settings.max_len=3"], 2, "model.settings.max_len"),
        (["model.name=null", "model.family=lexica"], 2, "did you mean 'lexical'?"),
        (["input.path=nowhere"], 4, "nowhere: no file found"),
        (["input.columns.text=body"], 3, "maps 'text' to 'body'"),
        (["model={family: cross_encoder, weights: nowhere}"], 4, "no folder at 'nowhere'"),
        (["model={family: cross_encoder, weights: a/b}"], 4, "'a/b' at revision main cannot be"),
        (["model={name: ./nowhere}"], 4, "no folder at './nowhere'"),
        (["ray.address=127.0.0.1:1"], 4, "ray.address: no cluster at '127.0.0.1:1'"),
    ],
)
def test_what_is_wrong_has_a_message_and_an_exit_code(
    tmp_path: Path, overrides: list[str], code: int, message: str
) -> None:
    words = [word for override in overrides for word in ("--set", override)]
    done = rerank("run", "-c", job(tmp_path), *words)
    assert message in done.stderr, done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_bad_input_files_have_messages_and_exit_codes(tmp_path: Path) -> None:
    good = long_table(queries=4)
    cases = {
        "empty.parquet": (b"", "the file is empty"),
        "cut.parquet": (Path(write(tmp_path / "x", good)).read_bytes()[:300], "cut off"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        done = rerank("run", "-c", job(tmp_path), "--set", f"input.path={tmp_path / name}")
        assert (done.returncode, message in done.stderr) == (3, True), done.stderr
        assert name in done.stderr
    missing = write(tmp_path / "missing.parquet", good.drop_columns("text"))
    done = rerank("run", "-c", job(tmp_path), "--set", f"input.path={missing}")
    assert done.returncode == 3
    assert "missing.parquet: missing column 'text'" in done.stderr
    apart = write(tmp_path / "apart.parquet", pa.concat_tables([good, good.slice(0, 1)]))
    apart_only = ("--set", f"input.path={apart}", "--set", "input.order=grouped")
    done = rerank("run", "-c", job(tmp_path), *apart_only)
    assert done.returncode == 3
    assert "unsorted input: query_id 'q000'" in done.stderr
    nulls = good.set_column(1, "query", pa.nulls(good.num_rows, pa.string()))
    write(tmp_path / "nulls.parquet", nulls)
    path = f"input.path={tmp_path / 'nulls.parquet'}"
    done = rerank("run", "-c", job(tmp_path), "--set", path)
    assert done.returncode == 6
    assert "null_query" in done.stderr


def test_a_tensor_that_is_missing_is_named_with_exit_code_4(tmp_path: Path, goldens: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(goldens / "ms-marco-minilm-tiny", broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, broken / "model.safetensors")
    model = f"model={{family: cross_encoder, weights: {broken}}}"
    # One unit: a worker process finds it; that a worker of Ray says such things as well is shown in
    # tests/execution/test_unchanged_weights.py.
    one = ("--set", "units.documents=1000")
    done = rerank("run", "-c", job(tmp_path), "--set", model, *one)
    assert done.returncode == 4, done.stderr
    assert "missing tensor 'classifier.bias'" in done.stderr


def test_interrupting_exits_130_and_the_next_run_finishes(tmp_path: Path) -> None:
    table = long_table(queries=1500, documents=20)
    path = write(tmp_path / "big.parquet", table, row_group_size=500)
    words = ["run", "-c", str(job(tmp_path)), "--set", f"input.path={path}"]
    words += ["--set", "units.documents=500", "--set", "ray.mode=cluster"]
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *words]
    # A shell that starts jobs in the background lets them ignore SIGINT, and so would this one.
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    out = tmp_path / "out"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(out.glob("*/ranked/*.parquet")):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "run the same command again to resume" in errors
    state = json.loads(rerank("status", out, "--json").stdout)
    assert 0 < state["units_committed"] < state["units"]
    assert rerank(*words).returncode == 0
    [folder] = (place for place in out.iterdir() if place.is_dir())
    ranked = pq.ParquetDataset(folder / "ranked").read(["query_id", "doc_id"])
    assert (
        ranked.num_rows
        == table.num_rows
        == len(set(zip(*ranked.to_pydict().values(), strict=True)))
    )


def test_version_and_no_arguments() -> None:
    import pipeline

    assert pipeline.__version__ in rerank("--version").stdout
    assert "Usage:" in rerank().stdout + rerank().stderr
