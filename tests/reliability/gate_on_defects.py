"""Plant each defect, run the gate on it, and write down which tier caught it.

    python tests/reliability/gate_on_defects.py run            plant and train; resumes where it was interrupted
    python tests/reliability/gate_on_defects.py judge          compare with the references, write the results

Five ways to be caught are told apart, from the most to the least dependent on the machine:

    golden, same machine      `bench golden`: inputs and first losses to the bit
    golden, another machine   the same with the stored numbers marked as another machine's: losses within 1 %
    results, same machine     `bench check`: the data really used too, and final accuracies to the bit
    results, another machine  the same, as above, without the final accuracies
    accuracy                  the statistics alone, alarm and confirmation by fresh seeds; memory and speed beside it
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from defects import CONTROL, DEFECTS, Defect
from planting import ROOT, bench, plant

from bench.reference.verdicts import RED

SUITE = "ci"
RESULTS = ROOT / "results" / "reliability"
WORK = ROOT / "results" / "runs" / "reliability"
CAUGHT = RED | {"failed"}


def run(keys: list[str]) -> None:
    """Plant and train, defect by defect; records of another version of the code are replaced."""
    for defect in (*DEFECTS, CONTROL):
        if keys and defect.key not in keys:
            continue
        tree = plant(defect, WORK / defect.key / "tree")
        for method in defect.methods:
            done = bench(tree, "run", SUITE, "--methods", method, "--no-plots", "--out", runs(defect))
            if "made by other code" in done.stderr:
                done = bench(tree, "run", SUITE, "--methods", method, "--no-plots", "--out", runs(defect), "--force")
            if done.returncode not in (0, 3):
                raise RuntimeError(done.stderr)
            print(f"{defect.key} {method}: exit status {done.returncode}", flush=True)


def runs(defect: Defect) -> Path:
    """The folder of a defect's records."""
    return WORK / defect.key / "runs"


def judge(keys: list[str]) -> None:
    """Compare every defect's records with the references."""
    blind = references(WORK / "references" / "accuracy-only", lambda stored: stored | {"goldens": []})
    elsewhere = references(WORK / "references" / "elsewhere", as_of_another_machine)
    path = RESULTS / "defects.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    for defect in (*DEFECTS, CONTROL):
        if keys and defect.key not in keys:
            continue
        tree = plant(defect, WORK / defect.key / "tree")
        found = {
            "golden, same machine": verdicts(bench(tree, "golden", SUITE, "--format", "json")),
            "golden, another machine": verdicts(bench(tree, "golden", SUITE, "--format", "json", reference=elsewhere)),
            "results, same machine": verdicts(check(defect, tree, "--no-confirm"), "golden"),
            "results, another machine": verdicts(check(defect, tree, "--no-confirm", reference=elsewhere), "golden"),
            "accuracy": verdicts(check(defect, tree, reference=blind), "accuracy"),
            "memory": verdicts(check(defect, tree, "--no-confirm", reference=blind), "memory"),
            "speed": verdicts(check(defect, tree, "--no-confirm", reference=blind), "speed"),
        }
        results[defect.key] = {
            "title": defect.title,
            "methods": {method: {tier: by.get(method, {}) for tier, by in found.items()} for method in defect.methods},
        }
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(defect.key, json.dumps(results[defect.key]["methods"]), flush=True)


def check(defect: Defect, tree: Path, *options: str, reference: Path | None = None) -> Any:
    """Check a defect's records with its own code; fresh seeds, if any are run, have the defect too."""
    arguments = ["check", SUITE, "--runs", runs(defect), "--any-code", "--format", "json", *options]
    return bench(tree, *arguments, reference=reference)


def verdicts(done: Any, what: str = "golden") -> dict[str, dict[str, str]]:
    """By method: the verdict that catches the defect, with its note, or else "ok" or the reason."""
    if not done.stdout.strip():
        raise RuntimeError(done.stderr)
    by_method: dict[str, dict[str, str]] = {}
    for row in json.loads(done.stdout):
        if row["what"] != what:
            continue
        told = {"verdict": row["verdict"], "note": f"{row['strategy']} {row['note']}".strip()}
        if row["method"] not in by_method or by_method[row["method"]]["verdict"] not in CAUGHT:
            by_method[row["method"]] = told
    return by_method


def references(folder: Path, change: Any) -> Path:
    """A copy of the suite's references with something changed."""
    stored = json.loads((ROOT / "results" / "reference" / "measured" / f"{SUITE}.json").read_text())
    (folder / "measured").mkdir(parents=True, exist_ok=True)
    (folder / "measured" / f"{SUITE}.json").write_text(json.dumps(change(stored)))
    return folder


def as_of_another_machine(stored: dict[str, Any]) -> dict[str, Any]:
    """The references, as if they came from another processor."""
    goldens = [{**part, "machine": {**part["machine"], "cpu": "another"}} for part in stored["goldens"]]
    return stored | {"goldens": goldens}


def main() -> None:
    """Run or judge all defects, or some of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "judge"])
    parser.add_argument("defects", nargs="*", help="keys; all by default")
    options = parser.parse_args()
    {"run": run, "judge": judge}[options.action](options.defects)


if __name__ == "__main__":
    main()
