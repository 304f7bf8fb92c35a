"""Several workers on one folder of runs: real processes, real signals."""

import json
import os
import random
import signal
import time

import pytest
import warm
from command_line import RUN, accuracies, assert_one_sentence, run_mine
from factories import cell, record

from bench import records
from bench.options import RunOptions
from bench.records import claims, worklists
from bench.running import local, suite

pytestmark = pytest.mark.timeout(300)
FOLDER = "results/runs"


def laid_out(bench, **options):
    """A folder of runs with the worklist of `mine.toml`."""
    made = RunOptions(str(bench.folder / "mine.toml"), out=bench.folder / FOLDER, threads=1, **options)
    return suite.lay_out(made)


def worker(bench, *arguments, **variables):
    return warm.Process(["work", FOLDER, *arguments], cwd=bench.folder, env={**bench.environment, **variables})


def written(bench):
    """The finished records, by cell."""
    found = records.read_all(bench.folder / FOLDER)
    return {made.id: made for made in found.records if made.status == "ok"}


def nothing_is_left(bench):
    return not list((bench.folder / FOLDER).glob("*/claim-*")) and not list((bench.folder / FOLDER).glob("*/*.pt"))


@pytest.mark.slow
def test_workers_share_the_cells_and_each_ends_well(bench):
    ready = laid_out(bench, seeds=2)
    both = [worker(bench) for _ in range(2)]
    said = [each.communicate()[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert len(written(bench)) == len(ready.cells) == 4
    assert all("4 of 4 cells are recorded" in text for text in said)
    here = [int(text.rsplit("recorded, ")[1].split()[0]) for text in said]
    assert sum(here) == 4
    assert nothing_is_left(bench)
    assert all(made.wall_seconds > 0 for made in written(bench).values())
    status = json.loads(bench.inside("status", FOLDER, "--format", "json").stdout)
    assert {line["now"] for line in status} == {"recorded"}


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_that_is_told_ends_after_its_epoch_and_the_next_goes_on_with_the_same_bits(bench, told):
    assert (
        run_mine(bench, "--methods", "asge", "--epochs", "30", "--out", "undisturbed", cells_too=True).returncode == 0
    )
    [undisturbed] = records.read_all(bench.folder / "undisturbed").records
    laid_out(bench, methods="asge", epochs=30)
    one = worker(bench)
    for line in one.stderr:
        if "epoch 2/30" in line:
            break
    os.kill(one.pid, told)
    rest = one.communicate()[1]
    assert one.returncode == 130, rest
    assert "stopped after the current epoch: the same command goes on" in rest
    [folder] = (bench.folder / FOLDER).glob("digits-*")
    assert (folder / records.STATE_FILE).is_file()
    assert not list(folder.glob("claim-*"))
    done = bench.inside("work", FOLDER)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/30" not in done.stderr
    [resumed] = written(bench).values()
    losses = [[epoch.losses for epoch in made.epochs] for made in (undisturbed, resumed)]
    assert losses[0] == losses[1]
    assert [part.accuracy for part in undisturbed.strategies] == [part.accuracy for part in resumed.strategies]


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again_lose_nothing(bench):
    """The script `tests/reliability/kills.py` does so two hundred times."""
    ready = laid_out(bench, seeds=3, methods="asge")
    draw = random.Random(0)
    for _ in range(4):
        one = worker(bench)
        time.sleep(1.0 + 2 * draw.random())
        one.kill()
        one.communicate()
    last = bench.inside("work", FOLDER)
    assert last.returncode == 0, last.stderr
    assert set(written(bench)) == {each.id for each in ready.cells}
    assert nothing_is_left(bench)


@pytest.mark.slow
def test_cells_side_by_side_in_one_run(bench):
    done = bench.inside(*RUN, "--workers", "2", "--seeds", "2", cells_too=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2 * (3 + 1)
    assert {made.shared for made in written(bench).values()} == {True}
    assert nothing_is_left(bench)
    alone = run_mine(bench, "--seeds", "2", "--out", "alone", cells_too=True)
    assert accuracies(done) == accuracies(alone)


def test_speeds_of_cells_that_share_a_machine_are_marked(bench):
    folder = bench.folder / FOLDER
    made = record().model_copy(update={"shared": True})
    (folder / made.id).mkdir(parents=True)
    records.write(folder / made.id / records.RECORD_FILE, made)
    assert "speeds are not comparable, other cells ran on the machine" in bench.inside("table").stdout


class Heard:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.started, self.finished, self.held = [], [], []

    def cell_started(self, spec, *_):
        self.started.append(spec.seed)

    def cell_event(self, *_):
        pass

    def cell_finished(self, spec, outcome):
        self.finished.append((spec.seed, outcome.reused, outcome.elsewhere))

    def waiting(self, held):
        self.held.append({identity: str(holder) for identity, holder in held.items()})


@pytest.fixture
def pretended(monkeypatch):
    """Cells whose process is not started: their records are made up."""

    def run(spec, options, work, claim, lane):
        assert claim.path.exists()
        made = record(seed=spec.seed)
        records.write(options.runs / spec.id / records.RECORD_FILE, made)
        return local.Outcome(spec, made, reused=False, problem=None)

    monkeypatch.setattr(local, "_run", run)
    monkeypatch.setattr(local, "LOOK_SECONDS", 0.01)


def test_what_another_holds_is_left_to_it_and_waited_for(tmp_path, pretended, monkeypatch):
    first, second = cell(seed=0), cell(seed=1)
    (tmp_path / first.id).mkdir()
    claim = claims.take(tmp_path / first.id)
    heard = Heard()
    looks = []

    def sleep(_seconds):
        looks.append(0)
        if len(looks) == 3:  # the other one is done
            made = record(seed=0).model_copy(update={"created": "2100-01-01T00:00:00+00:00"})
            records.write(tmp_path / first.id / records.RECORD_FILE, made)
            claim.release()

    monkeypatch.setattr(local.time, "sleep", sleep)
    outcomes = local.run_cells([first, second], RunOptions("mine", out=tmp_path, any_code=True), watcher=heard)
    assert [outcome.reused for outcome in outcomes] == [True, False]
    assert heard.started == [1]
    assert heard.finished == [(1, False, False), (0, True, True)]
    [held] = heard.held
    assert held[first.id].startswith("process ")
    assert len(looks) >= 3


def test_a_failure_that_another_worker_has_just_had_is_not_tried_again(tmp_path, pretended):
    old, new = cell(seed=0), cell(seed=1)
    for spec, created in ((old, "2000-01-01T00:00:00+00:00"), (new, "2100-01-01T00:00:00+00:00")):
        made = record(seed=spec.seed, status="failed").model_copy(update={"created": created})
        (tmp_path / spec.id).mkdir()
        records.write(tmp_path / spec.id / records.RECORD_FILE, made)
    heard = Heard()
    outcomes = local.run_cells([old, new], RunOptions("mine", out=tmp_path, any_code=True), watcher=heard)
    assert heard.started == [0]
    assert [outcome.record.status for outcome in outcomes] == ["ok", "failed"]


def test_forced_cells_run_once_whoever_runs_them(tmp_path, pretended):
    options = RunOptions("mine", out=tmp_path, any_code=True, force=True)
    for spec, created in ((cell(seed=0), "2000-01-01T00:00:00+00:00"), (cell(seed=1), "2100-01-01T00:00:00+00:00")):
        (tmp_path / spec.id).mkdir()
        records.write(
            tmp_path / spec.id / records.RECORD_FILE, record(seed=spec.seed).model_copy(update={"created": created})
        )
    heard = Heard()
    local.run_cells([cell(seed=0), cell(seed=1)], options, watcher=heard)
    assert heard.started == [0]


def test_what_a_worker_leaves_that_was_killed_after_the_record_is_removed(tmp_path, pretended):
    spec = cell(seed=0)
    folder = tmp_path / spec.id
    folder.mkdir()
    records.write(folder / records.RECORD_FILE, record(seed=0))
    for name in (records.STATE_FILE, "best-last.pt", records.LEARNED_FILE):
        (folder / name).touch()
    path = claims.take(folder).path
    path.write_text(json.dumps({**json.loads(path.read_text()), "started": "another boot"}))
    local.run_cells([spec], RunOptions("mine", out=tmp_path, any_code=True), watcher=Heard())
    assert sorted(each.name for each in folder.iterdir()) == [records.LEARNED_FILE, records.RECORD_FILE]


def test_lanes_share_the_devices(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    lanes = suite.lanes_of(RunOptions("mine", devices="cuda:0,cuda:3", workers=3))
    assert [lane.environ for lane in lanes] == [{"CUDA_VISIBLE_DEVICES": number} for number in ("0", "3", "0")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "cuda:7"], ["cuda:7", "0 CUDA devices"]),
        (["--devices", "cpu"], ["cpu", "different CUDA devices"]),
        (["--devices", "tpu"], ["tpu", "not a device"]),
    ],
)
def test_devices_that_are_none_are_named(bench, arguments, words):
    assert_one_sentence(bench.inside(*RUN, *arguments), *words)


def test_a_folder_without_a_worklist_is_named(bench):
    (bench.folder / "empty").mkdir()
    for command in ("work", "status"):
        assert_one_sentence(bench.inside(command, "empty"), "'empty' has no worklist", "bench submit")
    (bench.folder / "empty" / "worklist-mine.json").write_text("{")
    for command in ("work", "status"):
        assert_one_sentence(bench.inside(command, "empty"), "worklist-mine.json is no worklist")


def test_the_state_of_every_cell(bench):
    laid_out(bench, seeds=6, methods="asge")
    folder = bench.folder / FOLDER
    [worklist] = worklists.read_worklists(folder)
    specs = worklist.cells
    for spec in specs:
        (folder / spec.id).mkdir()
    for spec, status in ((specs[0], "ok"), (specs[1], "failed")):
        made = record(seed=spec.seed, status=status)
        made = made.model_copy(update={"id": spec.id, "cell": spec, "wall_seconds": 100.0 if status == "ok" else None})
        records.write(folder / spec.id / records.RECORD_FILE, made)
    claims.take(folder / specs[2].id)
    stale = folder / specs[3].id / "claim-1.json"
    stale.write_text(json.dumps({"host": "elsewhere", "process": 3, "job": "", "token": "x", "started": None}))
    then = time.time() - 1000
    os.utime(stale, (then, then))
    (folder / specs[4].id / records.STATE_FILE).touch()
    done = bench.inside("status", FOLDER, "--format", "json")
    lines = json.loads(done.stdout)
    assert [line["now"] for line in lines] == ["recorded", "failed", "running", "stale", "resumes", "to run"]
    assert str(os.getpid()) in lines[2]["where"]
    assert lines[3]["where"] == "process 3 on elsewhere"
    assert [line["seconds"] for line in lines] == [100, None, 100, 100, 100, 100]
    assert "1 recorded, 1 failed, 1 running, 1 stale, 1 resumes, 1 to run; about 7 min left" in done.stderr
