from xml.etree import ElementTree as ET

from bench.reference import junit
from bench.reference.verdicts import Check


def check(verdict, what="accuracy", strategy="last", note=""):
    return Check(task="mnist", method="asge", what=what, strategy=strategy, experiment="e", verdict=verdict, note=note)


def test_every_verdict_is_a_case_of_its_kind():
    checks = [
        check("ok"),
        check("too good", note="leakage?"),
        check("regression", note="3 points below"),
        check("losses differ", what="golden", strategy=""),
        check("failed", note="a <bad> \x00 message & more"),
        check("not measured"),
        check("no reference"),
        check("not compared", what="speed", strategy=""),
    ]
    root = ET.fromstring(junit.to_xml("ci", checks))  # noqa: S314 -- made here
    suite = root.find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "8",
        "2",
        "2",
        "2",
    )
    cases = suite.findall("testcase")
    assert [case[0].tag for case in cases] == [
        "system-out", "system-out", "failure", "failure", "error", "error", "skipped", "skipped",
    ]  # fmt: skip
    assert (cases[2].get("classname"), cases[2].get("name")) == ("ci.mnist.asge", "accuracy last")
    assert cases[3].get("name") == "golden"
    assert cases[2][0].get("message") == "regression: 3 points below"
    assert cases[4][0].get("message") == "failed: a <bad> ? message & more"


def test_the_file_is_made_with_its_folder(tmp_path):
    path = tmp_path / "new" / "junit.xml"
    junit.write(path, "ci", [check("ok")])
    assert ET.parse(path).getroot().tag == "testsuites"  # noqa: S314
