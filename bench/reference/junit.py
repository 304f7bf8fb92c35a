"""A check as a JUnit file, which every CI service can show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from bench import records
from bench.reference.verdicts import RED, Check

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold, not even escaped; an error message of a plug-in may."""


def write(path: Path, suite: str, checks: Sequence[Check]) -> None:
    """Write a test case per verdict: red ones are failures, cells that failed errors, what has no verdict skipped.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_text(path, to_xml(suite, checks))


def to_xml(suite: str, checks: Sequence[Check]) -> str:
    """The text of a JUnit file."""
    cases = [_case(suite, check) for check in checks]
    counts = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in ("failure", "error", "skipped")}
    root = ET.Element("testsuites")
    group = ET.SubElement(
        root,
        "testsuite",
        name=f"bench check {suite}",
        tests=str(len(cases)),
        failures=counts["failure"],
        errors=counts["error"],
        skipped=counts["skipped"],
    )
    group.extend(cases)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: str, check: Check) -> ET.Element:
    name = f"{check.what} {check.strategy}".strip()
    case = ET.Element("testcase", classname=f"{suite}.{check.task}.{check.method}", name=name)
    message = _NOT_XML.sub("?", f"{check.verdict}: {check.note}" if check.note else check.verdict)
    if check.verdict in RED:
        ET.SubElement(case, "failure", message=message)
    elif check.verdict in ("failed", "not measured"):
        ET.SubElement(case, "error", message=message)
    elif check.verdict in ("no reference", "not compared"):
        ET.SubElement(case, "skipped", message=message)
    else:
        ET.SubElement(case, "system-out").text = message + _numbers(check)
    return case


def _numbers(check: Check) -> str:
    parts = {"value": check.value, "reference": check.reference, "limit": check.limit, "detects": check.detects}
    known = ", ".join(f"{name} {value:.6g}" for name, value in parts.items() if value is not None)
    return f" ({known})" if known else ""
