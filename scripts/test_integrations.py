"""What scripts/test-integrations runs: environments, their tests, and the table of what ran."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "integrations_real"
FOLDER = ROOT / ".venv-integrations"
PARTS = ("import", "reward", "estimator", "step", "evaluation", "totals")
NOT_OFFERED = re.compile(
    r"from versions: none|No matching distribution|Could not find a version|Requires-Python|No space left|[Tt]imed out|"
    r"Network is unreachable|name resolution|Connection|ProxyError"
)
"""What pip says when a package cannot be had here, as opposed to a set that does not fit together."""
LEAST_BYTES = 200e6
"""An environment that cannot be made beside less free space than this has met a full disk, whatever its tools say."""
LEAST_SECONDS = 20
"""With less time left than this an environment is not begun."""


@dataclass
class Outcome:
    """One row of the table."""

    name: str
    version: str = "-"
    seconds: float = 0.0
    ran: dict[str, list[str]] = field(default_factory=dict)
    """Part -> outcomes of its tests: passed, failed, skipped."""
    reason: str = ""
    """Why it was skipped, or what failed."""
    failed: bool = False
    skipped: list[str] = field(default_factory=list)
    """Reasons of single tests that were skipped."""


def environments() -> list[dict[str, Any]]:
    """The table of environments, in its order."""
    with (TESTS / "environments.toml").open("rb") as file:
        return tomllib.load(file)["environment"]


def interpreter(versions: list[str]) -> str | None:
    """The first Python of these versions that works; managers of versions hide theirs from the search path."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version in versions:
        if version == own:
            return sys.executable
        places = [shutil.which(f"python{version}")]
        places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for place in filter(None, places):
            try:
                done = subprocess.run([place, "-c", "import ensurepip, venv"], capture_output=True, timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0:
                return str(place)
    return None


def run(command: list[Any], log: Path, seconds: float, **options: Any) -> int | None:
    """The command's exit status, or None when it took too long; what it says goes to the end of ``log``."""
    with log.open("a", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=seconds, **options
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


def install(entry: dict[str, Any], folder: Path, log: Path, end: float) -> str:
    """Make the environment, or find it made; the reason where that is impossible, with ``!`` before a failure."""
    if "shares" in entry:
        shared = (folder / "bin/python").exists()
        return "" if shared else f"needs the environment {entry['shares']}: run scripts/setup first"
    base = ROOT / entry["over"] if "over" in entry else None
    if base is not None and not (base / "bin/python").exists():
        return f"needs the environment {entry['over']}: run scripts/setup first"
    python = interpreter(entry["python"]) if base is None else str((base / "bin/python").resolve())
    if python is None:
        return f"needs Python {' or '.join(entry['python'])}, which this machine does not have"
    parts = [
        json.dumps(entry, sort_keys=True),
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        str(ROOT),
        python,
    ]
    fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    stamp = folder / "polymode-integrations"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint:
        return ""
    log.write_text("", encoding="utf-8")
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    steps: list[list[Any]] = [[python, "-m", "venv", "--clear", folder]]
    if base is None:
        steps.append([*pip, "-e", ".", *entry.get("install", []), "pytest", "pytest-timeout"])
    else:  # a .pth file adds the other environment's packages behind one's own
        [packages] = base.glob("lib/python*/site-packages")
        code = "import sys, sysconfig; open(sysconfig.get_path('purelib') + '/over.pth', 'w').write(sys.argv[1])"
        steps.append([folder / "bin/python", "-c", code, packages])
    if entry.get("alone"):
        steps.append([*pip, "--no-deps", *entry["alone"]])
    for command in steps:
        status = run(command, log, max(1.0, end - time.monotonic()), cwd=ROOT)
        if status is None:
            return "its packages could not be installed in the time that was left"
        if status:
            said = [line for line in log.read_text(encoding="utf-8").splitlines() if not line.startswith("WARNING")]
            reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "pip failed")
            free = shutil.disk_usage(FOLDER).free
            if free < LEAST_BYTES:
                return f"the disk is full ({free / 1e6:.0f} MB are free): {reason.removeprefix('ERROR: ')[:100]}"
            offered = not NOT_OFFERED.search("\n".join(said))
            return f"{'!' if offered else ''}{reason.removeprefix('ERROR: ')[:160]}"
    stamp.write_text(fingerprint, encoding="utf-8")
    return ""


def remove(entry: dict[str, Any]) -> None:
    """Delete an environment of one's own; its log stays."""
    if "shares" not in entry:
        shutil.rmtree(FOLDER / entry["name"], ignore_errors=True)


def part_of(test: str) -> str:
    """What a test runs, by its name."""
    return next((part for part in PARTS if test.startswith(f"test_{part}")), "other")


def read_report(report: Path, outcome: Outcome) -> None:
    """Add what pytest reported about each test."""
    for case in ElementTree.parse(report).iter("testcase"):
        state = "passed"
        for child in case:
            if child.tag in ("failure", "error"):
                state, outcome.failed = "failed", True
                outcome.reason = f"{case.get('name')}: {(child.get('message') or '').splitlines()[0][:120]}"
            elif child.tag == "skipped":
                state = "skipped"
                outcome.skipped.append(f"{case.get('name')}: {child.get('message')}")
        outcome.ran.setdefault(part_of(case.get("name", "")), []).append(state)


def test(entry: dict[str, Any], end: float, totals: Path) -> Outcome:
    """Make one environment and run its tests, until ``end`` at the latest."""
    name = entry["name"]
    outcome, folder, log = Outcome(name), ROOT / entry.get("shares", FOLDER / name), FOLDER / f"{name}.log"
    start = time.monotonic()
    end = min(end, start + 60 * entry["minutes"])
    reason = install(entry, folder, log, end)
    left = end - time.monotonic()
    if not reason and left < LEAST_SECONDS:
        reason = "no time is left for its tests"
    if reason:
        outcome.failed, outcome.reason = reason.startswith("!"), reason.removeprefix("!")
        outcome.seconds = time.monotonic() - start
        return outcome
    said = subprocess.run(
        [folder / "bin/python", "-c", f"from importlib.metadata import version as v; print(v({entry['package']!r}))"],
        capture_output=True,
        text=True,
    )
    outcome.version = said.stdout.strip() or "-"
    report = FOLDER / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [folder / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command += [f"--junitxml={report}", TESTS / entry["tests"]]
    # The packages are real: a missing one is a failure here, and a skipped test in the normal suite.
    environment = {**os.environ, "POLYMODE_INTEGRATION": name, "POLYMODE_TOTALS": str(totals), "PYTHONPATH": str(ROOT)}
    status = run(command, log, left, cwd=ROOT, env=environment)
    if report.exists():
        read_report(report, outcome)
    if status is None:
        outcome.reason = f"stopped after {left:.0f} s"
        outcome.failed = left >= 60 * entry["minutes"] * 0.5  # with most of its own time it should have ended
    elif status and not outcome.failed:
        outcome.failed, outcome.reason = True, f"pytest ended with {status}; see {log.relative_to(ROOT)}"
    outcome.seconds = time.monotonic() - start
    return outcome


def compare(totals: Path) -> tuple[str, bool]:
    """Whether every package gave the shared completions the same totals."""
    by_name = {path.stem: path.read_text(encoding="utf-8") for path in sorted(totals.glob("*.json"))}
    if len(by_name) < 2:
        return "", True
    equal = len(set(by_name.values())) == 1
    n = len(json.loads(next(iter(by_name.values()))))
    return f"the same {n} completions through {', '.join(by_name)}: {'equal totals' if equal else 'DIFFERENT'}", equal


def table(outcomes: list[Outcome]) -> str:
    """One row for each environment."""
    rows = [("environment", "version", *PARTS, "seconds", "")]
    for outcome in outcomes:
        cells = []
        for part in PARTS:
            states = outcome.ran.get(part, [])
            worst = next((state for state in ("failed", "passed", "skipped") if state in states), "-")
            cells.append({"passed": "yes", "failed": "FAILED"}.get(worst, worst))
        if outcome.failed:
            note = f"FAILED: {outcome.reason}"
        elif outcome.reason:
            note = f"skipped: {outcome.reason}"
        else:
            note = ""
        rows.append((outcome.name, outcome.version, *cells, f"{outcome.seconds:.0f}", note))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return "\n".join(
        " ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def main() -> int:
    """Run the environments that are named and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/test-integrations", description=__doc__)
    known = environments()
    parser.add_argument("names", nargs="*", help=f"environments: {', '.join(entry['name'] for entry in known)}")
    parser.add_argument("--minutes", type=float, default=60, help="longest time of the whole run")
    parser.add_argument("--remove", action="store_true", help="delete each environment when its tests have run")
    options = parser.parse_args()
    if unknown := set(options.names) - {entry["name"] for entry in known}:
        parser.error(f"no environment is called {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    totals = FOLDER / "totals"
    shutil.rmtree(totals, ignore_errors=True)
    totals.mkdir()
    end = time.monotonic() + 60 * options.minutes
    outcomes = []
    for entry in known:
        if options.names and entry["name"] not in options.names:
            continue
        print(f"integrations: {entry['name']} ...", flush=True)
        if end - time.monotonic() < LEAST_SECONDS:
            outcomes.append(Outcome(entry["name"], reason="no time is left"))
        else:
            outcomes.append(test(entry, end, totals))
            if options.remove:
                remove(entry)
    print(table(outcomes))
    for outcome in outcomes:
        for reason in outcome.skipped:
            print(f"integrations: {outcome.name}: skipped {reason}")
    line, are_equal = compare(totals)
    if line:
        print(f"integrations: {line}")
    for outcome in outcomes:
        if outcome.failed:
            log = FOLDER / f"{outcome.name}.log"
            print(f"integrations: the end of {log.relative_to(ROOT)}:", *log.read_text().splitlines()[-30:], sep="\n  ")
    states = [state for outcome in outcomes for group in outcome.ran.values() for state in group]
    n_failed = (
        states.count("failed") + sum(outcome.failed and not outcome.ran for outcome in outcomes) + (not are_equal)
    )
    print(f"integrations: {states.count('passed')} passed, {n_failed} failed, {states.count('skipped')} skipped")
    return int(n_failed > 0 or any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
