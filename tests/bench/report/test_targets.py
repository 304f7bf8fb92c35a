"""Cost of an accuracy, by hand."""

import json

import pytest
from factories import record

from bench.cli import table as command
from bench.cli.options import TableFormat
from bench.errors import UserError
from bench.report import targets


def run(validation, seconds=60.0, images=1000, joules=None, **changes):
    """A record with these validation accuracies, epoch by epoch."""
    made = record(accuracies={"last": 90.0}, **changes)
    epochs = [
        made.epochs[0].model_copy(
            update={
                "epoch": number,
                "seconds": seconds,
                "images": images,
                "validation": {"last": value},
                "energy_joules": joules,
            }
        )
        for number, value in enumerate(validation, start=1)
    ]
    return made.model_copy(update={"epochs": epochs})


def test_a_target_is_reached_at_the_end_of_the_first_epoch_that_has_it():
    """1e6 FLOPs per image: three epochs of 1,000 images are 3e9."""
    found = targets.reached(run([70.0, 79.9, 80.0, 85.0], joules=50.0), "last", 80.0)
    assert (found.epoch, found.seconds, found.flops, found.joules) == (3, 180.0, 3e9, 150.0)


def test_a_target_that_falls_back_later_was_reached():
    assert targets.reached(run([81.0, 70.0]), "last", 80.0).epoch == 1


def test_a_target_out_of_reach_or_another_strategy_is_none():
    assert targets.reached(run([70.0, 79.0]), "last", 80.0) is None
    assert targets.reached(run([70.0, 90.0]), "best", 80.0) is None


def test_energy_that_is_missing_in_an_epoch_is_not_known():
    assert targets.reached(run([70.0, 90.0]), "last", 80.0).joules is None


@pytest.mark.parametrize(("seconds", "expected"), [(59.9, None), (60.0, 70.0), (179.0, 80.0), (1e9, 85.0)])
def test_accuracy_at_a_time_is_that_of_the_last_epoch_within_it(seconds, expected):
    assert targets.accuracy_at(run([70.0, 80.0, 85.0]), "last", seconds) == expected


def test_the_table_has_means_of_the_seeds_that_reached_it(tmp_path, capsys):
    made = [
        run([70.0, 80.0, 85.0], seed=0),
        run([80.5, 82.0, 84.0], seed=1),
        run([10.0, 20.0], seconds=30.0, method="ff", seed=0),
    ]
    for each in made:
        (tmp_path / each.id).mkdir()
        (tmp_path / each.id / "record.json").write_text(each.model_dump_json())
    assert command.table(tmp_path, target=80.0, form=TableFormat.JSON) == 0
    asge, ff = json.loads(capsys.readouterr().out)
    assert (asge["seeds"], asge["reached by"], asge["epochs"], asge["minutes"]) == (2, 2, 1.5, 1.5)
    assert asge["% at 1.0 min"] == 75.25  # the shortest run has a minute: 70 and 80.5 after one epoch
    assert (ff["reached by"], ff["minutes"], ff["% at 1.0 min"]) == (0, None, 20.0)


def test_a_target_is_a_share_of_images(tmp_path):
    with pytest.raises(UserError, match="--target must be above 0 and at most 100, got 101"):
        command.table(tmp_path, target=101.0)
