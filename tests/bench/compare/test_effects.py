"""Settings compared within one folder, paired by seed."""

import numpy as np
import pytest
from factories import record
from scipy import stats

from bench.compare.effects import Choice, effects, paired_difference
from bench.errors import UserError
from bench.records import Found
from bench.report import pages


def runs(values, *, epochs=2, **settings):
    """Records of seeds 0, 1, ... with these accuracies."""
    return [
        record(seed=seed, accuracies={"last": value}, settings=settings, epochs=epochs)
        for seed, value in enumerate(values)
    ]


ALPHA = [
    *runs([90.0, 91.0, 92.5], alpha=1.0, pooling="rms"),
    *runs([91.0, 92.2, 93.3], alpha=2.0, pooling="rms"),
    *runs([80.0, 81.0, 82.0], alpha=1.0, pooling="avg"),
    *runs([80.5, 81.0, 82.2], alpha=2.0, pooling="avg"),
]


def told(table):
    return [(row.label, row.mean_a, row.mean_b, row.difference, row.verdict) for row in table]


def test_every_pair_that_differs_in_the_choice_alone_is_a_row():
    rows = told(effects(Found(ALPHA), [Choice.parse("asge.alpha")]))
    assert [row[0] for row in rows] == [
        "asge pooling=rms: alpha=2.0 instead of alpha=1.0",
        "asge pooling=avg: alpha=2.0 instead of alpha=1.0",
    ]
    assert rows[0][1:3] == pytest.approx((91.1666667, 92.1666667))
    assert rows[0][3] == pytest.approx(1.0)
    assert [row[4] for row in rows] == ["better", "no difference seen"]


def test_the_interval_is_that_of_the_paired_t_test():
    differences = [1.0, 1.2, 0.8, -0.3]
    found = paired_difference(differences)
    expected = stats.ttest_1samp(differences, 0)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.estimate == pytest.approx(np.mean(differences))
    assert 2 * min(found.probability, 1 - found.probability) == pytest.approx(expected.pvalue)
    assert paired_difference([1.0]) is None
    assert paired_difference([1.0, 1.0]) is None


def test_a_value_may_be_named_as_the_one_to_compare_with():
    found = [*ALPHA, *runs([89.0, 90.5, 91.0], alpha=4.0, pooling="rms")]
    rows = told(effects(Found(found), [Choice.parse("asge.alpha=2.0")]))
    assert [row[0].partition(": ")[2] for row in rows] == [
        "alpha=1.0 instead of alpha=2.0", "alpha=4.0 instead of alpha=2.0", "alpha=1.0 instead of alpha=2.0",
    ]  # fmt: skip


def test_conditions_that_go_together_are_one_choice():
    both = [*runs([90.0, 91.0], alpha=1.0, pooling="rms"), *runs([92.0, 92.5], alpha=2.0, pooling="avg")]
    [row] = effects(Found(both), [Choice.parse("asge.alpha=1.0+asge.pooling")])
    assert row.label == "asge: alpha=2.0, pooling=avg instead of alpha=1.0, pooling=rms"
    assert row.difference == pytest.approx(1.75)


def test_only_seeds_of_both_sides_count():
    both = [*runs([90.0, 91.0, 70.0], alpha=1.0), *runs([90.5, 91.7], alpha=2.0)]
    [row] = effects(Found(both), [Choice.parse("asge.alpha")])
    assert (row.n_a, row.n_b, row.mean_a) == (2, 2, 90.5)
    assert row.difference == pytest.approx(0.6)


def test_one_shared_seed_has_a_difference_without_an_interval_and_equal_sides_are_identical():
    both = [*runs([90.0, 70.0], alpha=1.0), *runs([90.5], alpha=2.0), *runs([90.0, 70.0], alpha=3.0)]
    few, equal = effects(Found(both), [Choice.parse("asge.alpha")])
    assert (few.difference, few.low, few.verdict) == (0.5, None, "too few seeds")
    assert (equal.difference, equal.verdict) == (0.0, "identical")


def test_budgets_and_inputs_are_conditions_too():
    both = [*runs([90.0, 91.0], epochs=2), *runs([92.0, 92.9], epochs=4)]
    [row] = effects(Found(both), [Choice.parse("epochs")])
    assert row.label == "asge: epochs=4 instead of epochs=2"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("asge.aplha", "unknown condition 'aplha': did you mean 'alpha'"),
        ("asge.alpha+epochs", "no two cells differ in alpha and epochs alone"),
        ("asge.alpha+ff.alpha", "names settings of asge and ff"),
        (".alpha", "needs conditions such as asge.alpha"),
        ("", "needs conditions such as asge.alpha"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(choice, message):
    found = runs([90.0, 91.0], alpha=1.0)
    with pytest.raises(UserError, match=message):
        effects(Found(found), [Choice.parse(choice)])


def test_a_page_shows_effects(tmp_path):
    for each in ALPHA:
        (tmp_path / "runs" / each.id).mkdir(parents=True)
        (tmp_path / "runs" / each.id / "record.json").write_text(each.model_dump_json())
    page = tmp_path / "page.md"
    page.write_text("<!-- effects: runs asge.alpha=1.0 asge.pooling -->\n<!-- end of table -->\n")
    assert pages.fill(page, tmp_path) == 1
    text = page.read_text()
    assert "| asge pooling=rms: alpha=2.0 instead of alpha=1.0 | last | 91.17 (n=3) | 92.17 (n=3) | +1.00 [" in text
    assert text.count("instead of pooling=avg") == 2
