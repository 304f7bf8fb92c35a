import pytest
import torch

from bench import studies
from bench.data.sets import tasks
from bench.data.sets.arrays import Arrays
from bench.errors import UserError
from bench.studies import robustness


def test_a_step_against_a_linear_network_by_hand():
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    images = torch.tensor([[[[0.5, 0.95]]]])
    moved = robustness.attacked(lambda x: x.flatten(1) @ weight.T, images, torch.tensor([0]), 0.1)
    # The loss of class 0 falls with the first value and rises with the second, which stops at 1.
    torch.testing.assert_close(moved, torch.tensor([[[[0.4, 1.0]]]]))
    assert torch.equal(robustness.attacked(lambda x: x.flatten(1), images, torch.tensor([0]), 0.0), images)


@pytest.mark.slow
def test_networks_are_misled_more_by_more(monkeypatch, tmp_path):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(60, 190, (300, 3, 16, 16), dtype=torch.uint8, generator=draw)
    labels = torch.randint(3, (300,), generator=draw)
    for label in range(3):
        images[labels == label, label] += 12
    arrays = Arrays(images[:200], labels[:200], images[200:], labels[200:])
    made = tasks.Task(
        name="colors", title="Colors", shape=(3, 16, 16), classes=3, mean=(0.5,) * 3, std=(0.2,) * 3,
        validation_size=30, test_size=100, read=lambda _: arrays,
    )  # fmt: skip
    monkeypatch.setattr(tasks, "get_task", lambda name: made)
    options = {"epochs": 3, "train_samples": 120, "batch_size": 30, "seeds": 2}
    record, figures = studies.run("robustness", studies.Request("colors", 50, 0, None), tmp_path, options)
    assert len(record.rows) == 3 * len(robustness.EPSILONS)
    assert record.settings["epochs"] == 3
    plain = [row[2] for row in record.rows if row[0] == "no gates"]
    assert plain[0] > plain[-1]
    assert [path.name for path in figures] == ["robustness.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "robustness.epochs = 0 is not valid"),
        ({"size": 1}, "size"),
        (
            {"architecture": "resnet20", "train_samples": 500},
            "bas cannot be built for digits: architecture must be cifar-DEPTH",
        ),
    ],
)
def test_wrong_settings_are_one_sentence(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        studies.run("robustness", studies.Request("digits", 50, 0, None), tmp_path, options)
