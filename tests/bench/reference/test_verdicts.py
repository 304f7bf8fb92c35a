"""The line that says what all verdicts of a suite say."""

from dataclasses import replace

from bench.reference.check import blank
from bench.reference.verdicts import conclusion

OK = blank("digits", "asge", "e", "last")


def test_all_agree_where_a_speed_cannot_be_compared():
    checks = [OK, replace(OK, what="speed", verdict="not compared")]
    assert conclusion("mine", checks) == "as stored: 1 verdicts, all ok"


def test_what_is_certain_comes_before_what_is_missing():
    differs = replace(blank("digits", "asge", "e"), verdict="losses differ", note="at step 1")
    missing = replace(OK, verdict="no reference", note="no stored values for these settings")
    said = "not as stored: asge golden: losses differ (at step 1); 1 more are not ok"
    assert conclusion("mine", [OK, missing, differs]) == said
    assert conclusion("mine", [missing]) == (
        "not known whether as stored: asge/last: no reference (no stored values for these settings)"
    )


def test_a_low_accuracy_is_an_alarm_that_the_check_decides():
    low = replace(OK, verdict="regression", note="2.00 points below")
    said = "not known whether as stored: asge/last: alarm (2.00 points below), `bench check mine` decides"
    assert conclusion("mine", [OK, low]) == said
