"""Source trees with a planted defect, and runs of their code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from defects import Defect

ROOT = Path(__file__).parents[2]
PACKAGES = ("asge", "baselines", "bench")


def edited(defect: Defect) -> dict[str, str]:
    """The text of each file that a defect changes, by path.

    Raises:
        ValueError: if an edit does not fit the code as it is.
    """
    texts: dict[str, str] = {}
    for edit in defect.edits:
        text = texts.get(edit.file) or (ROOT / edit.file).read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise ValueError(f"{defect.key}: {edit.old!r} is in {edit.file} {text.count(edit.old)} times, not once")
        texts[edit.file] = text.replace(edit.old, edit.new)
    return texts


def plant(defect: Defect, folder: Path) -> Path:
    """Copy the packages and plant the defect; replaces an old copy."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in edited(defect).items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def bench(tree: Path, *arguments: str | Path, reference: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tree's own `bench`; this environment provides only the libraries and the list of plug-ins."""
    stored = reference or ROOT / "results" / "reference"
    environment = {**os.environ, "PYTHONPATH": str(tree), "BENCH_REFERENCE": str(stored)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "bench", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
