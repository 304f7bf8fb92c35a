"""Write the tables of docs/reliability.md from the committed results: python tests/reliability/page.py."""

from __future__ import annotations

import json
import math
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


def seeds_table(found: dict[str, Any]) -> str:
    """How many simulated healthy suites fail and raise an alarm, by the distribution of their seeds."""
    names = list(found["suites"])
    heads = [f"`{name}` {what}" for name in names for what in ("failed before", "fails now", "alarms now")]
    lines = [f"| distribution of seeds | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for shape in found["suites"][names[0]]["healthy"]:
        cells = []
        for name in names:
            counts = found["suites"][name]["healthy"][shape]
            before, now = counts["before"], counts["after"]
            cells += [_share(each, found["draws"]) for each in (before["failures"], now["failures"], now["alarms"])]
        lines.append(f"| {shape} | {' | '.join(cells)} |")
    return "\n".join(
        [*lines, "", f"{found['draws']:,} suites per line; the error is two standard errors of their number."]
    )


def _share(count: int, draws: int) -> str:
    share = count / draws
    return f"{share:.2%} ± {2 * math.sqrt(share * (1 - share) / draws):.2%}".replace("%", " %")


def drops_table(found: dict[str, Any]) -> str:
    """What drop each row of each suite is said to detect, before and now."""
    share = f"{100 * found['repeated']:.0f} %"
    lines = [
        f"| suite | row | deviation of seeds | detected before | now | if nothing repeats | if {share} repeats |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for suite, part in found["suites"].items():
        for row, drops in part["drops"].items():
            told = [_points(drops[when]) for when in ("before", "after", "nothing repeats", "most repeats")]
            lines.append(f"| {suite} | {row} | {drops['deviation']:.2f} | {' | '.join(told)} |")
    repeats = ", ".join(_repeats(suite, part["drops"]) for suite, part in found["suites"].items())
    return "\n".join([*lines, "", f"Points. Repeated seeds that the references hold: {repeats}."])


def _points(drop: float | None) -> str:
    return "-" if drop is None else f"{drop:.2f}"


def _repeats(suite: str, drops: dict[str, Any]) -> str:
    counts = sorted({row["repeats"] for row in drops.values()})
    return f"`{suite}` {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} per row"


def detected_table(found: dict[str, Any]) -> str:
    """What drop is found by simulation, by the distribution of seeds, in deviations."""
    names = list(found["suites"])
    heads = [f"`{name}` {when}" for name in names for when in ("before", "now")]
    lines = [f"| distribution of seeds | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for shape in found["suites"][names[0]]["detected"]:
        told = [found["suites"][name]["detected"][shape][when] for name in names for when in ("before", "after")]
        lines.append(f"| {shape} | {' | '.join('-' if each is None else f'{each:.1f}' for each in told)} |")
    return "\n".join(lines)


def kills_table(counts: dict[str, int]) -> str:
    """What was lost when workers were killed."""
    lines = ["| counted | |", "|---|---:|", *(f"| {what} | {count:,} |" for what, count in counts.items())]
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with regenerated tables."""
    seeds = json.loads((RESULTS / "seeds.json").read_text())
    tables = {
        "seeds": seeds_table(seeds),
        "drops": drops_table(seeds),
        "detected": detected_table(seeds),
        "defects": defects_table(json.loads((RESULTS / "defects.json").read_text())),
        "kills": kills_table(json.loads((RESULTS / "kills.json").read_text())),
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
