import io

import pytest
from factories import record
from rich.console import Console

from bench import methods
from bench.methods import settings
from bench.records import Found, Start
from bench.report import fairness, rows
from bench.report import table as report

CONVOLUTIONS = ((8, 1, 3, 3), (16, 8, 3, 3))
NETWORK = {"topology": "asge", "pooling": "rms", "affine": False}
OPTIMISER = {"optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.0, "schedule": "cosine"}


def lines(*records):
    return {line.what: line for line in fairness.lines(rows.make(Found(records)))}


def pair(**changes):
    same = {"settings": NETWORK | OPTIMISER, "weights": (*CONVOLUTIONS, (10, 16))}
    return record(**same), record("backprop", accuracies={"logits": 91.0}, **same | changes)


def test_equal_runs_are_equal_in_everything():
    found = lines(*pair())
    assert [line.what for line in found.values() if not line.equal] == ["tuning trials"]  # not recorded
    assert found["between them"].values == ("ReLU, rms pooling, LayerNorm (no gamma and beta)",) * 2
    assert found["kernels of convolutions"].values == ("1-8:3 8-16:3",) * 2
    assert found["optimiser"].values == ("adamw 0.01, decay 0.0, cosine",) * 2
    assert found["training images"].values == ("all", "all")
    assert found["augmentation"].values == ("none", "none")


def test_images_are_described_where_they_are_not_the_tasks_own():
    assert "size and scaling" not in lines(*pair())
    assert lines(*pair(resize=32, scaling="rms"))["size and scaling"].values == ("the task's own", "32 pixels, rms")
    changes = {"split": "random", "validation_samples": 10_000, "augmented_validation": True}
    found = lines(*pair(**changes))["validation images"]
    assert found.values == ("the task's own", "10,000, random, augmented")


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("kernels of convolutions", {"weights": ((8, 1, 3, 3), (16, 8, 5, 5))}),
        ("epochs", {"epochs": 3}),
        ("training images", {"train_samples": 500}),
        ("batch size", {"batch_size": 32}),
        ("augmentation", {"augmentation": ("flip",)}),
        ("size and scaling", {"scaling": "rms"}),
        ("validation images", {"split": "random", "validation_samples": 100}),
        (
            "optimiser",
            {"settings": NETWORK | OPTIMISER | {"optimiser": "sgd"}},
        ),
        ("between them", {"settings": OPTIMISER | NETWORK | {"pooling": "max"}}),
        ("data and its order", {"inputs": {"train": "other", "test": "b"}}),
        ("data and its order", {"seed": 1}),
        ("timed on", {"cpu": "another"}),
    ],
)
def test_what_differs_is_said_and_nothing_else(what, changes):
    found = lines(*pair(**changes))
    assert [line.what for line in found.values() if not line.equal and line.what != "tuning trials"] == [what]


@pytest.mark.parametrize(
    ("method", "settings", "text"),
    [
        ("cwc", {"head_learning_rate": 3e-4}, "adamw 0.01, decay 0.0, cosine, head 0.0003"),
        ("bas", {"gate_learning_rate": 0.2, "gating": "channels"}, "adamw 0.01, decay 0.0, cosine, gate 0.2"),
        ("bas", {"gate_learning_rate": 0.2, "gating": "none"}, "adamw 0.01, decay 0.0, cosine"),
        ("backprop", {"optimiser": "nesterov", "momentum": 0.8}, "nesterov 0.01, decay 0.0, cosine, momentum 0.8"),
    ],
)
def test_a_rate_of_its_own_and_the_momentum_are_said(method, settings, text):
    one, _ = pair()
    other = record(method, accuracies={"logits": 91.0}, settings=NETWORK | OPTIMISER | settings)
    assert lines(one, other)["optimiser"].values[1] == text


def test_a_method_that_does_not_describe_its_optimiser_is_not_recorded():
    one, _ = pair()
    other = record("not-installed", accuracies={"logits": 91.0}, settings=NETWORK | OPTIMISER)
    assert lines(one, other)["optimiser"].values[1] == "not recorded"


def test_what_training_began_with_is_said_where_there_is_something():
    assert "begun with" not in lines(*pair())
    found = lines(*pair(start=Start(method="bas", settings={}, epochs=15)))["begun with"]
    assert found.values == ("nothing", "bas of 15 epochs")
    assert not found.equal


@pytest.mark.parametrize("method", methods.names())
def test_every_method_says_what_lies_between_its_convolutions(method):
    assert methods.between(method, settings.canonical(method, {}))


def test_the_classifier_is_not_the_network():
    assert lines(*pair(weights=(*CONVOLUTIONS, (10, 784))))["kernels of convolutions"].equal


def test_what_older_records_do_not_say_is_not_called_equal():
    old = lines(*(pair(weights=None)[1], record("cwc", accuracies={"goodness": 90.0}, weights=None)))
    assert not old["kernels of convolutions"].equal
    assert old["kernels of convolutions"].values == ("not recorded", "not recorded")
    assert not old["optimiser"].equal


def test_a_single_method_is_no_comparison():
    assert fairness.lines(rows.make(Found([record(), record(seed=1)]))) == []
    assert fairness.lines(rows.make(Found([record(), record("cwc", status="diverged")]))) == []


def test_it_stands_below_the_table():
    out = io.StringIO()
    report.render_rows(rows.make(Found(pair(epochs=3))), "markdown", Console(file=out))
    assert "| epochs | no | 2 | 3 |" in out.getvalue()


def test_what_lies_between_is_equal_where_gamma_and_beta_are_trained_in_both():
    trained = {"settings": NETWORK | OPTIMISER | {"affine": True}}
    both = (record(**trained), record("backprop", accuracies={"logits": 91.0}, **trained))
    found = lines(*both)["between them"]
    assert found.equal
    assert found.values == ("ReLU, rms pooling, LayerNorm (trained gamma and beta)",) * 2
    assert not lines(*pair(**trained))["between them"].equal  # here only the second has them
