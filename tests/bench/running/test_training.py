import math
import subprocess
import sys

import pytest
import torch

from bench.errors import UserError
from bench.running import evaluation, training
from bench.running.training import Diverged, train


class Batches:
    """Two small batches per epoch."""

    kind = "memory"
    samples = 6
    digest = "of two batches"

    def __len__(self):
        return 2

    def epoch(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        yield torch.randn(4, 1, 2, 2, generator=generator), torch.tensor([0, 1, 0, 1])
        yield torch.randn(2, 1, 2, 2, generator=generator), torch.tensor([1, 0])


class Counter:
    """A learner whose state is the list of its calls; predicts class 1 from the epoch in ``right`` on."""

    strategies = ("early", "late")

    def __init__(self, losses=(1.0,)):
        self.calls = []
        self.losses = list(losses)
        self.epoch = -1
        self.steps = 0

    def begin_epoch(self, epoch):
        self.epoch = epoch
        self.calls.append(f"begin {epoch}")

    def train_step(self, images, labels):
        self.calls.append(f"step {len(labels)}")
        self.steps += 1
        return {"loss": torch.tensor(self.losses[min(self.steps, len(self.losses)) - 1])}

    def finish(self, validation):
        self.calls.append(f"finish {sum(len(labels) for _, labels in validation)}")

    def predict(self, images, strategy):
        right = {"early": self.epoch < 1, "late": self.epoch >= 1}[strategy]
        labels = torch.tensor([0, 1, 0, 1] if len(images) == 4 else [1, 0])
        return torch.nn.functional.one_hot(labels if right else 1 - labels, 2).float()

    def parameters(self, strategy=None):
        return iter([torch.zeros(1)])

    def state_dict(self):
        return {"calls": list(self.calls), "epoch": self.epoch, "steps": self.steps}

    def load_state_dict(self, state):
        self.calls, self.epoch, self.steps = list(state["calls"]), state["epoch"], state["steps"]


def run(learner, folder, epochs, generator=None, progress=lambda event: None, writer="this code"):
    history = training.History(writer=writer)
    train(
        learner,
        Batches(),
        Batches(),
        epochs=epochs,
        generator=generator or torch.Generator(),
        device=torch.device("cpu"),
        folder=folder,
        history=history,
        progress=progress,
    )
    return history


def test_order_of_calls_and_what_is_recorded(tmp_path):
    learner, events = Counter(losses=[4.0, 2.0, 1.0]), []
    history = run(learner, tmp_path, 2, progress=events.append)
    one = ["step 4", "step 2", "finish 6"]
    assert learner.calls == ["begin 0", *one, "begin 1", *one]
    assert [e.losses["loss"] for e in history.epochs] == [3.0, 1.0]
    assert history.opening == {"loss": [4.0, 2.0]}
    assert [e.validation for e in history.epochs] == [{"early": 100.0, "late": 0.0}, {"early": 0.0, "late": 100.0}]
    assert history.epochs[0].layers is None
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2]


def test_the_first_batch_is_timed_apart(tmp_path):
    history = run(Counter(), tmp_path, 2)
    assert [epoch.images for epoch in history.epochs] == [2, 6]
    assert history.first_batch_seconds > 0


def test_the_best_epoch_is_chosen_on_validation_data_by_strategy_and_its_state_kept(tmp_path):
    history = run(Counter(), tmp_path, 3)
    assert history.best_epoch == {"early": 1, "late": 2}
    state = training.load_state(training.best_file(tmp_path, "early"), torch.device("cpu"))
    assert state["epoch"] == 0


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_stopped_run_goes_on_where_it_was(tmp_path, stopped_after):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    straight.mkdir()
    resumed.mkdir()
    whole, first, second = Counter(), Counter(), Counter()
    expected = run(whole, straight, 3)

    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    run(first, resumed, stopped_after, generator)
    fresh = torch.Generator()
    history = run(second, resumed, 3, fresh)

    assert second.calls == whole.calls
    assert torch.equal(fresh.get_state(), generator.get_state())
    assert history.best_epoch == expected.best_epoch
    assert [e.losses for e in history.epochs] == [e.losses for e in expected.epochs]


@pytest.mark.parametrize("losses", [[1.0, math.nan], [1.0, math.inf], [1.0, 1e9], [math.nan]])
def test_a_loss_that_is_not_finite_or_explodes_is_a_divergence(tmp_path, losses):
    with pytest.raises(Diverged, match=r"loss 'loss' is .* in epoch 1"):
        run(Counter(losses), tmp_path, 1)


def test_accuracy_counts_every_sample_once():
    learner = Counter()
    learner.begin_epoch(0)
    assert evaluation.accuracies(learner, learner.strategies, Batches(), print) == {
        "early": (100.0, None),
        "late": (0.0, None),
    }


def test_nothing_half_written_stays_behind(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        training.save_atomically({}, tmp_path / "state.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_other_code_is_not_gone_on_from(tmp_path, capsys):
    run(Counter(), tmp_path, 1)
    learner = Counter()
    run(learner, tmp_path, 2, writer="other code")
    assert learner.calls[0] == "begin 0"
    assert "written by other code" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip file", b"nonsense"])
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        run(Counter(), tmp_path, 1)


def test_an_epoch_of_one_batch_is_timed_whole(tmp_path):
    class One(Batches):
        samples = 4

        def __len__(self):
            return 1

        def epoch(self, epoch):
            yield torch.randn(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])

    history = training.History()
    train(Counter(), One(), One(), epochs=1, generator=torch.Generator(), device=torch.device("cpu"), folder=tmp_path,
          history=history, progress=print)  # fmt: skip
    assert history.epochs[0].images == 4
    assert history.epochs[0].seconds >= history.first_batch_seconds


def test_the_history_tells_what_was_really_trained_and_validated_on(tmp_path):
    other = Batches()
    other.digest = "of others"
    history = training.History()
    for _ in range(2):  # the second goes on where the first has ended
        train(Counter(), Batches(), other, epochs=1, generator=torch.Generator(), device=torch.device("cpu"),
              folder=tmp_path, history=history, progress=print)  # fmt: skip
        assert history.inputs == {"train": "of two batches", "validation": "of others"}


def test_the_history_until_a_divergence_is_kept(tmp_path):
    history = training.History()
    with pytest.raises(Diverged):
        train(Counter([1.0, 1.0, 1.0, math.nan]), Batches(), Batches(), epochs=3, generator=torch.Generator(),
              device=torch.device("cpu"), folder=tmp_path, history=history, progress=print)  # fmt: skip
    assert [epoch.epoch for epoch in history.epochs] == [1]


COMPILER = """
import pathlib, sys, types
import torch
from bench.running import parts, training
from bench.data.sets import tasks

generator = torch.Generator()
learner = parts.build("asge", {}, tasks.get_task("digits"), parts.Budget(1, 1), torch.device("cpu"), generator)
print("torch._dynamo" in sys.modules)

def meters(device):
    print("torch._dynamo" in sys.modules)
    sys.exit()

training.Meters = meters
loader = types.SimpleNamespace(digest="")
training.train(learner, loader, loader, epochs=1, generator=generator, device=torch.device("cpu"),
               folder=pathlib.Path("."), history=training.History(), progress=print)
"""


@pytest.mark.slow
def test_the_compiler_is_imported_before_memory_is_measured_and_not_to_look_at_a_learner(tmp_path):
    done = subprocess.run([sys.executable, "-c", COMPILER], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
