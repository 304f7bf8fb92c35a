from types import SimpleNamespace

import pytest
import torch

from bench import studies, suites
from bench.studies import loaders as study


class Fixed:
    """A loader whose epochs have a number of batches of four."""

    samples = 24
    digest = "none"

    def __init__(self, kind="memory"):
        self.kind = kind
        self.begun = []

    def __len__(self):
        return 6

    def epoch(self, epoch):
        self.begun.append(epoch)
        for _ in range(6):
            yield torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)

    def close(self):
        self.begun.append("closed")


def test_every_loader_has_its_turn_in_every_round():
    field = [Fixed(), Fixed(), Fixed()]
    race = study.take_turns(field, rounds=3, seconds=10)
    assert [one.begun for one in field] == [[0, 1, 2]] * 3
    assert [len(rates) for rates in race.rates] == [3, 3, 3]
    assert min(map(min, race.rates)) > 0


def test_waiting_is_the_loaders_share_of_a_step(monkeypatch):
    clock = iter([0.0, *[second for step in range(5) for second in (4.0 * step, 4.0 * step + 1)], 20.0, 21.0, 21.0])
    monkeypatch.setattr(study, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    spec = suites.cells(suites.load("smoke"), suites.Overrides(threads=1, loader="memory"))[0]
    made = SimpleNamespace(begin_epoch=lambda _: None, train_step=lambda *_: {})
    monkeypatch.setattr(study.parts, "learner", lambda *_: (made, None))

    class Data:
        train = Fixed()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            """Nothing to close."""

    monkeypatch.setattr(study.parts, "data", lambda *_: Data())
    # Six batches: the first untimed, five that are waited for one second each, and the end of the epoch: 6 of 21.
    assert study.waiting(spec, None, seconds=100.0) == pytest.approx(100 * 6 / 21)


@pytest.mark.slow
def test_the_study_has_a_line_for_every_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "ROUNDS", 2)
    monkeypatch.setattr(study, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(study, "waits", lambda *_: iter(["smoke: 1 %"]))
    monkeypatch.setattr(study, "contestants", lambda: [("memory", None), ("memory", None), ("torch", 1)])
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    record, figures = studies.run("loaders", studies.Request("digits", 600, 0, None), tmp_path / "out")
    assert [row[:3] for row in record.rows] == [
        [kind, workers, augmentation]
        for augmentation in ("none", "crop+flip", "resized-crop+flip")
        for kind, workers in (("memory", "-"), ("memory", "-"), ("torch", 1))
    ]
    assert all(row[4] == 1 for row in record.rows if row[0] == "torch")
    assert record.notes[-1] == "smoke: 1 %"
    assert [path.name for path in figures] == ["loaders.png"]
