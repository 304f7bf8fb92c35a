"""The line that says what all verdicts of a suite say."""

from dataclasses import replace

from bench.reference.check import blank
from bench.reference.verdicts import conclusion

OK = blank("digits", "asge", "e", "last")


def test_all_agree_where_a_speed_cannot_be_compared():
    assert conclusion([OK, replace(OK, what="speed", verdict="not compared")]) == "as stored: 1 verdicts, all ok"


def test_a_regression_comes_before_what_is_missing():
    low = replace(OK, verdict="regression", note="2.00 points below")
    missing = replace(OK, verdict="no reference", note="no stored values for these settings")
    said = "not as stored: asge/last: regression (2.00 points below), and 1 more"
    assert conclusion([OK, missing, low]) == said
    assert conclusion([missing]) == (
        "not known whether as stored: asge/last: no reference (no stored values for these settings)"
    )


def test_a_whole_cell_is_named_by_what_was_checked():
    differs = replace(blank("digits", "asge", "e"), verdict="losses differ")
    assert conclusion([differs]) == "not as stored: asge golden: losses differ"
