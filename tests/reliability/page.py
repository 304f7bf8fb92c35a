"""Write the tables of docs/reliability.md from the committed results: python tests/reliability/page.py."""

from __future__ import annotations

import json
from typing import Any

from defects import CONTROL
from gate_on_defects import CAUGHT, RESULTS, ROOT

PAGE = ROOT / "docs" / "reliability.md"
TIERS = (
    "golden, same machine",
    "golden, another machine",
    "results, same machine",
    "results, another machine",
    "accuracy",
)
HEADS = (
    "first steps, equal machine",
    "first steps, other machine",
    "whole run, equal machine",
    "whole run, other machine",
    "statistics of accuracy",
)


def defects_table(results: dict[str, Any]) -> str:
    """One line per defect: for each tier, how many of the affected methods were caught."""
    lines = [
        "| planted defect | methods | " + " | ".join(HEADS) + " | caught |",
        "|---|---|" + "---|" * len(TIERS) + "---|",
    ]
    caught = caught_elsewhere = 0
    for key, defect in results.items():
        methods = defect["methods"]
        cells = []
        by_tier = {tier: [m for m, found in methods.items() if _caught(found, tier)] for tier in TIERS}
        for tier in TIERS:
            some = by_tier[tier]
            cells.append("all" if len(some) == len(methods) else ", ".join(some) or "-")
        anywhere = {method for some in by_tier.values() for method in some}
        elsewhere = {method for tier in TIERS if "same" not in tier for method in by_tier[tier]}
        if key != CONTROL.key:
            caught += anywhere == set(methods)
            caught_elsewhere += elsewhere == set(methods)
        yes = "yes" if anywhere == set(methods) else ", ".join(sorted(anywhere)) or "**no**"
        yes = "no defect" if key == CONTROL.key else yes
        lines.append(f"| {defect['title']} | {', '.join(methods)} | " + " | ".join(cells) + f" | {yes} |")
    total = len(results.keys() - {CONTROL.key})
    here = (
        f"{caught} of {total} defects** on a machine like the references', {caught_elsewhere} of {total} on any other."
    )
    lines += ["", f"**Caught in every method that has them: {here}"]
    return "\n".join(lines)


def _caught(found: dict[str, dict[str, str]], tier: str) -> bool:
    return found[tier].get("verdict") in CAUGHT


def alarms_table(found: dict[str, Any]) -> str:
    """How many drawn suites raised an alarm, how many failed, and in which rows."""
    suites = found["suites"]
    alarms, failures = (f"{found[what]:,} ({100 * found[what] / suites:.2f} %)" for what in ("alarms", "failures"))
    lines = [
        "| healthy suites drawn | raised an alarm | failed after confirmation | promised at most |",
        "|---|---|---|---|",
        f"| {suites:,} | {alarms} | {failures} | 1 % |",
        "",
    ]
    rows = ", ".join(f"{row} {count:,}" for row, count in sorted(found["alarms by row"].items(), key=lambda i: -i[1]))
    lines.append(f"Alarms by row: {rows}." if rows else "No row raised an alarm.")
    memory, speed = dict(found["memory"]), dict(found["speed"])
    skipped = speed.pop("not compared", 0)
    whose = ", ".join(f"{count:,} of {method}" for method, count in found["slower by method"].items())
    lines.append(
        f"Memory was compared {sum(memory.values()):,} times, with {_red(memory):,} alarms. Speed was compared "
        f"{sum(speed.values()):,} times, with {_red(speed):,} alarms{f' ({whose})' if whose else ''}; "
        f"{skipped:,} times it was not, since the machine had been busy."
    )
    return "\n".join(lines)


def _red(verdicts: dict[str, int]) -> int:
    return sum(count for verdict, count in verdicts.items() if verdict in CAUGHT)


def with_tables(page: str) -> str:
    """The page with regenerated tables."""
    tables = {
        "defects": defects_table(json.loads((RESULTS / "defects.json").read_text())),
        "false alarms": alarms_table(json.loads((RESULTS / "false-alarms.json").read_text())),
    }
    for name, table in tables.items():
        start, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}{table}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
