"""Runs the tests under conditions that other machines have: `make test-conditions PYTEST_ARGS="tests/files"`.

Each condition is one run of pytest in a process of its own. The exit code is 1 if a test fails under one of them.
CONDITIONS="umask spaces" in the environment names the conditions to run; without it, all of them run.
CONDITIONS="umask+spaces" runs the tests once, under both.
A condition that this machine cannot offer (no root user, no such locale) is reported as not run.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Python reads the C locale as UTF-8. It takes the encoding of any other locale, unless PYTHONUTF8 is set.
BARE = {"PYTHONUTF8": "0"}
LOCALES = {"c-locale": "C", "comma-locale": "de_DE.utf8", "latin-1-locale": "de_DE.iso88591"}
# Sets of tests with an environment of their own.
OWN = ("browser", "io", "ray", "tfx")
CONDITIONS = ["timezone", *LOCALES, "umask", "no-home", "one-core", "spaces", "other-user", "read-only", "shuffled"]


def copy_of_checkout(folder: pathlib.Path) -> pathlib.Path:
    """The files that git knows or would add, as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, map(os.fsdecode, listed.split(b"\0"))):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def shuffled(arguments: list[str]) -> list[str]:
    """The same arguments, with one test file after another named in an order drawn by chance."""
    named = [argument for argument in arguments if pathlib.Path(argument.partition("::")[0]).exists()]
    files = named or [
        str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py") if path.parent.name not in OWN
    ]
    seed = random.randrange(1000)
    print(f"shuffled: seed {seed}")
    random.Random(seed).shuffle(files)
    return [argument for argument in arguments if argument not in named] + files


@dataclasses.dataclass
class Surroundings:
    """What pytest is started with; conditions change it one after another."""

    environment: dict[str, str]
    folder: pathlib.Path = ROOT
    prefix: list[str] = dataclasses.field(default_factory=list)
    workers: list[str] = dataclasses.field(default_factory=lambda: ["-n", "2", "--dist", "loadfile"])
    umask: int = -1


def _apply(name: str, its: Surroundings, temporary: pathlib.Path) -> str | None:
    """Changes `its` as the condition says; the reason where this machine does not offer the condition."""
    if name == "timezone":
        its.environment["TZ"] = "Pacific/Apia"
    elif name in LOCALES:
        known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
        if LOCALES[name] not in known:
            return f"this machine has no locale {LOCALES[name]} (Debian: apt install locales-all)"
        its.environment |= {"LC_ALL": LOCALES[name]} | ({} if name == "c-locale" else BARE)
    elif name == "umask":
        its.umask = 0o077
    elif name == "no-home":
        its.environment["HOME"] = "/nonexistent"
    elif name == "one-core":
        its.prefix = [*its.prefix, "taskset", "-c", str(min(os.sched_getaffinity(0)))]
        its.workers = []
    elif name == "spaces":
        its.folder = copy_of_checkout(temporary / "a path with spaces")
        (its.folder / "tmp").mkdir()
        its.environment["TMPDIR"] = str(its.folder / "tmp")
    elif name in ("other-user", "read-only"):
        if os.geteuid() != 0:
            return "it needs root, to become another user"
        if its.folder == ROOT:
            its.folder = copy_of_checkout(temporary / "checkout")
            (temporary / "tmp").mkdir()
            its.environment["TMPDIR"] = str(temporary / "tmp")
        its.environment |= {"HOME": "/nonexistent", "USER": "nobody"}
        own = [temporary, its.environment["TMPDIR"]] if name == "read-only" else [temporary, *temporary.rglob("*")]
        for path in own:
            shutil.chown(path, "nobody", "nogroup")
        its.prefix = [*its.prefix, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        if subprocess.run([*its.prefix, sys.executable, "-c", ""], stderr=subprocess.DEVNULL).returncode:
            return f"the user nobody may not run {sys.executable}"
    return None


def run(names: str, arguments: list[str], temporary: pathlib.Path) -> str:
    """pytest's closing line under one condition or several, joined by +; or why a condition is not offered here."""
    its = Surroundings(dict(os.environ))
    for name in names.split("+"):
        if name == "shuffled":
            arguments = shuffled(arguments)
            continue
        reason = _apply(name, its, temporary)
        if reason:
            return f"not run: {reason}"
    words = ["-m", "pytest", "-q", *its.workers, "-m", "not slow and not soak", "-p", "no:cacheprovider", "--color=no"]
    done = subprocess.run(
        [*its.prefix, sys.executable, *words, "--ignore=tests/browser", "--ignore=tests/tfx", *arguments],
        cwd=its.folder,
        env=its.environment,
        umask=its.umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        print(done.stdout, flush=True)
    lines = done.stdout.strip().splitlines() or ["pytest printed nothing"]
    return lines[-1] if done.returncode else "passed: " + lines[-1]


def main(arguments: list[str]) -> int:
    names = os.environ.get("CONDITIONS", "").split() or CONDITIONS
    unknown = {name for joined in names for name in joined.split("+")} - set(CONDITIONS)
    if unknown:
        print(f"CONDITIONS: unknown {', '.join(sorted(unknown))}; known are {', '.join(CONDITIONS)}", file=sys.stderr)
        return 2
    results = {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="conditions-") as temporary:
            results[name] = run(name, arguments, pathlib.Path(temporary))
        print(f"{name}: {results[name]}", flush=True)
    return int(any(not re.match("passed|not run", line) for line in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
