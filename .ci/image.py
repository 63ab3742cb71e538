"""Take the steps of the Dockerfile in clean Debian roots, where there is no container engine.

    sudo python3 .ci/image.py --target cpu --work /var/tmp/image

Each stage becomes a folder with the root file system that it ends with; RUN goes through chroot in
namespaces of its own, as the stage's user. The base is made by mmdebstrap. Then .ci/image_check is
run in the result, without a network, as the image's user. A base that was made is
kept for the next time. ``--arg`` is what ``--build-arg`` is to
docker; ``--mount`` puts a folder of this machine into the roots while they are built, such as one
of wheels.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

#: Of this machine's environment, what pip needs to reach its index.
_PASSED: Final = re.compile(r"^(PIP_\w+|https?_proxy|no_proxy|SSL_CERT_FILE)$", re.IGNORECASE)
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The state that a stage's next instruction meets."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Every instruction of a Dockerfile and what follows it; comments left out, lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), " ".join(rest.split()) if name != "RUN" else rest.strip()


def needed(steps: list[tuple[str, str]], target: str) -> set[str]:
    """The stages that ``target`` is made from, itself included."""
    asked: dict[str, set[str]] = {}
    name = ""
    for step, rest in steps:
        if step == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\w[\w-]*)", rest).groups()  # type: ignore[union-attr]
            asked[name] = {base}
        elif step == "COPY" and (found := re.match(r"--from=(\S+)", rest)):
            asked[name].add(found[1])
    todo, seen = [target], set[str]()
    while todo:
        name = todo.pop()
        if name in asked and name not in seen:
            seen.add(name)
            todo += asked[name]
    return seen


class Builder:
    """Takes steps, one stage after the other.

    Args:
        work: where the roots go.
        given: build arguments.
        mounts: folders of this machine that RUN sees at the same path, read-only.
    """

    def __init__(self, work: Path, given: dict[str, str], mounts: list[Path]) -> None:
        self.work, self.given, self.mounts = work, given, mounts
        self.stages: dict[str, Stage] = {}
        self.args: dict[str, str] = {}

    def build(self, target: str) -> Stage:
        """The stage ``target``, with all that it needs."""
        steps = list(instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))
        wanted, name = needed(steps, target), ""
        for step, rest in steps:
            if step == "FROM":
                base, name = rest.split(" AS ")
                if name in wanted:
                    self.stages[name] = self._begin(name, base)
            elif not name:
                self._global(step, rest)
            elif name in wanted:
                begun = time.monotonic()
                self.stages[name] = getattr(self, step.lower())(self.stages[name], rest)
                print(f"{name}: {step} {rest[:70]}  {time.monotonic() - begun:.1f} s", flush=True)
        return self.stages[target]

    def _global(self, step: str, rest: str) -> None:
        assert step == "ARG", f"{step} before the first FROM"
        key, _, value = rest.partition("=")
        self.args[key] = self.given.get(key, value)

    def _begin(self, name: str, base: str) -> Stage:
        root = self.work / name
        if root.exists():
            shutil.rmtree(root)
        if base in self.stages:
            copied(self.stages[base].root, root)
            return replace(self.stages[base], root=root, args={})
        image = _expanded(base, self.args)
        suite = re.fullmatch(r"debian:(\w+)-slim(@sha256:[0-9a-f]{64})?", image)
        assert suite is not None, f"{image}: not a base that mmdebstrap can make"
        begun = time.monotonic()
        kept = self.work / f"{suite[1]}.tar"
        if not kept.exists():
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=minbase", suite[1], kept], check=True
            )
        root.mkdir()
        subprocess.run(["tar", "--extract", "--file", kept, "--directory", root], check=True)
        print(f"{name}: FROM {image}, by mmdebstrap  {time.monotonic() - begun:.1f} s", flush=True)
        return Stage(root=root)

    def arg(self, stage: Stage, rest: str) -> Stage:
        """ARG: given, or of the top of the file, or the default; RUN sees it as a variable."""
        key, _, default = rest.partition("=")
        value = self.given.get(key, self.args.get(key, " ".join(shlex.split(default))))
        return replace(stage, args={**stage.args, key: value})

    def env(self, stage: Stage, rest: str) -> Stage:
        """ENV: for RUN, for later stages, and for whoever starts the image."""
        pairs = (word.split("=", 1) for word in shlex.split(rest))
        known = {"PATH": _PATH, **stage.env}
        return replace(stage, env={**stage.env, **{k: _expanded(v, known) for k, v in pairs}})

    def workdir(self, stage: Stage, rest: str) -> Stage:
        """WORKDIR: made where it is missing."""
        inside(stage.root, rest).mkdir(parents=True, exist_ok=True)
        return replace(stage, workdir=rest)

    def user(self, stage: Stage, rest: str) -> Stage:
        """USER: as numbers, which chroot takes as they are."""
        return replace(stage, user=rest)

    def cmd(self, stage: Stage, rest: str) -> Stage:
        """CMD: nothing to do for who builds."""
        return stage

    def copy(self, stage: Stage, rest: str) -> Stage:
        """COPY: from the checkout or another stage; a folder gives what it holds."""
        options = [word for word in rest.split() if word.startswith("--")]
        *sources, target = [word for word in rest.split() if not word.startswith("--")]
        origin = ROOT
        for option in options:
            assert option.startswith("--from="), f"COPY {option}: not known here"
            origin = self.stages[option.removeprefix("--from=")].root
        place = inside(stage.root, str(Path(stage.workdir, target)))
        for source in sources:
            found = inside(origin, source)
            if found.is_dir():
                copied(found, place)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, place / found.name)
        return stage

    def run(self, stage: Stage, rest: str) -> Stage:
        """RUN: in the root, with the stage's arguments and variables."""
        passed = {k: v for k, v in os.environ.items() if _PASSED.match(k)}
        if "PIP_CERT" in passed:
            passed["PIP_CERT"] = "/run/certificates.crt"
        in_root(stage, rest, env={**passed, **stage.args}, mounts=self.mounts)
        return stage


_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: In a mount namespace that ends with the command; what it leaves in /run and /tmp goes with it.
_ENTER: Final = r"""
set -eu
root=$1 user=$2 workdir=$3 command=$4; shift 4
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"; mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
cp /etc/resolv.conf "$root/run/resolv.conf"; : >>"$root/etc/resolv.conf"
mount --bind "$root/run/resolv.conf" "$root/etc/resolv.conf"
if [ -e "$CERTIFICATES" ]; then cp "$CERTIFICATES" "$root/run/certificates.crt"; fi
for folder; do
    mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done
unset CERTIFICATES
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$1" && exec /bin/sh -ec "$2"' sh \
    "$workdir" "$command"
"""


def in_root(
    stage: Stage,
    command: str,
    *,
    env: dict[str, str] | None = None,
    mounts: list[Path] | None = None,
    network: bool = True,
) -> None:
    """Run a shell command in a stage's root, as its user.

    Raises:
        CalledProcessError: it failed.
    """
    unshared: list[str | Path] = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        *([] if network else ["--net"]),
    ]
    words: list[str | Path] = [
        "sh",
        "-c",
        _ENTER,
        "sh",
        stage.root,
        stage.user,
        stage.workdir,
        command,
    ]
    environment = {"PATH": _PATH, "HOME": "/root"} | (env or {}) | stage.env
    environment["CERTIFICATES"] = str(_CERTIFICATES)
    subprocess.run([*unshared, *words, *(mounts or [])], env=environment, check=True)


def copied(source: Path, target: Path) -> None:
    """Copy what is in a folder, with owners, modes and links."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{source}/.", target], check=True)


def inside(root: Path, path: str) -> Path:
    """A path below a root, whether written as absolute or not."""
    return root / path.lstrip("/")


def _expanded(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], ""), text)


def size_mb(root: Path) -> int:
    """What a root holds, in MB, as files on a disk."""
    done = subprocess.run(["du", "-sxm", root], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def main() -> None:
    """Build the target, then check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--target", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the roots")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--mount", action="append", default=[], type=Path, metavar="FOLDER")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("image.py: chroot and mmdebstrap need root; start it with sudo")
    begun = time.monotonic()
    given = dict(text.split("=", 1) for text in chosen.arg)
    chosen.work.mkdir(parents=True, exist_ok=True)
    stage = Builder(chosen.work.resolve(), given, chosen.mount).build(chosen.target)
    print(
        f"{chosen.target}: {size_mb(stage.root)} MB in {time.monotonic() - begun:.0f} s", flush=True
    )
    check = (ROOT / ".ci" / "image_check").read_text(encoding="utf-8")
    try:
        in_root(stage, check, network=False)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{chosen.target}: .ci/image_check ended with {error.returncode}")


if __name__ == "__main__":
    main()
