import json

import pytest
from command_line import assert_one_sentence
from factories import cell, record

from bench import records
from bench.cluster import simulation
from bench.cluster.durations import Durations
from bench.cluster.simulation import Job, forecast

TEN = [Job(60.0, 10) for _ in range(10)]


@pytest.mark.parametrize(("workers", "seconds"), [(1, 600), (2, 300), (3, 240), (10, 60), (64, 60)])
def test_without_failures_it_is_arithmetic(workers, seconds):
    found = forecast(TEN, workers)
    assert (found.makespan, found.spread, found.lost) == (seconds, 0, 0)
    assert found.bound == max(600 / workers, 60)
    assert found.efficiency == pytest.approx(600 / (workers * seconds))


def test_a_long_cell_at_the_end_is_waited_for():
    found = forecast([Job(10, 1), Job(10, 1), Job(100, 1)], 2)
    assert found.makespan == 110
    assert found.bound == 100


def test_failures_cost_what_was_trained_since_the_last_epoch_and_the_wait(monkeypatch):
    """By hand, for one cell of ten epochs: it fails with probability 1/2 each time, on average half way."""
    monkeypatch.setattr(simulation, "DRAWS", 4000)
    many, one = (forecast([Job(100.0, epochs)], 1, fail_rate=0.5, pause=0) for epochs in (1000, 1))
    # One failure is expected; with many epochs nothing of it is lost but the wait until the claim is stale.
    assert many.makespan == pytest.approx(100 + simulation.STALE_SECONDS, rel=0.1)
    assert many.lost < 0.2
    # With a single epoch, what was worked is done again: half a cell, on average, for each failure.
    assert one.makespan == pytest.approx(100 + simulation.STALE_SECONDS + 50, rel=0.1)
    assert one.lost == pytest.approx(50, rel=0.1)
    assert one.spread > 0


def test_a_seed_is_a_simulation():
    assert forecast(TEN, 2, fail_rate=0.1, seed=3) == forecast(TEN, 2, fail_rate=0.1, seed=3)
    assert forecast(TEN, 2, fail_rate=0.1, seed=3) != forecast(TEN, 2, fail_rate=0.1, seed=4)


def timed(seconds, **spec):
    made = record(cell=cell(**spec)) if "method" in spec else record(**spec)
    return made.model_copy(update={"wall_seconds": seconds})


def test_a_cell_takes_what_cells_like_it_took():
    known = Durations([timed(seconds, seed=seed) for seed, seconds in enumerate((10.0, 12.0, 50.0))])
    assert known.of(cell(seed=9)) == 12
    longer = cell(seed=9).model_copy(update={"epochs": 2 * cell().epochs})
    assert known.of(longer) == 24
    assert known.of(cell("ff")) == 12
    assert Durations([record()]).of(cell()) is None


def test_the_command_says_it(bench):
    folder = bench.folder / "results" / "runs"
    assert_one_sentence(bench.inside("simulate", "mine.toml"), "folder of runs", "does not exist")
    for seed in (0, 1):
        made = timed(30.0, seed=seed)
        (folder / made.id).mkdir(parents=True)
        records.write(folder / made.id / records.RECORD_FILE, made)
    done = bench.inside("simulate", "mine.toml", "--workers", "1,2", "--seeds", "3", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [(line["workers"], line["minutes"], line["efficiency %"]) for line in json.loads(done.stdout)] == [
        (1, 3.0, 100.0), (2, 1.5, 100.0),
    ]  # fmt: skip
    assert_one_sentence(bench.inside("simulate", "mine.toml", "--workers", "1,x"), "'1,x'", "numbers from 1")
