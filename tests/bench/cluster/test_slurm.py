"""`bench submit`: the script it writes, then a real SLURM whose workers, jobs and nodes are killed."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import slurm_cluster
import warm
from command_line import assert_one_sentence, command_line, run_mine

from bench import records
from bench.cluster import slurm
from bench.records import claims

FOLDER = "results/runs"
SUBMIT = ("submit", "mine.toml", "--threads", "1", "--seeds", "6")


def test_the_script(bench, monkeypatch):
    monkeypatch.setenv("BENCH_TRIES", "2")
    done = bench.inside(
        *SUBMIT, "--dry-run", "--partition", "gpu", "--time", "04:00:00", "--gres", "gpu:1", "--workers", "8",
        "--exclusive", "--lead", "300", "--setup", "module load cuda", "--sbatch=--account=mine",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "#!/bin/bash"
    folder = bench.folder / FOLDER
    for option in (
        "job-name=bench-mine", "array=1-8", "cpus-per-task=1", "partition=gpu", "time=04:00:00", "gres=gpu:1",
        "exclusive", "requeue", "signal=B:USR1@300", "open-mode=append", f"chdir={bench.folder}",
        f"output={folder}/slurm/%A_%a.log", "account=mine",
    ):  # fmt: skip
        assert f"#SBATCH --{option}" in lines
    assert "export BENCH_TRIES=2" in lines
    assert lines.index("module load cuda") < next(number for number, line in enumerate(lines) if " bench work " in line)
    assert not folder.exists()


def shell(tmp_path, worker, told):
    """Run a job's script with a worker and a queue that are not real: its exit status, what it asks the queue."""
    job = slurm.Job(name="n", runs=tmp_path, workers=1, threads=1)
    text = slurm.script(job)
    [line] = [line for line in text.splitlines() if " bench work " in line]
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" >> asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "script").write_text(text.replace(line, f"python3 -c '{worker}' &"))
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    with subprocess.Popen(["bash", "script"], cwd=tmp_path, env=environ) as process:
        if told is not None:
            while not (tmp_path / "ready").exists():
                time.sleep(0.02)
            process.send_signal(told)
        status = process.wait(20)
    asked = tmp_path / "asked"
    return status, asked.read_text() if asked.exists() else ""


ENDS_AT_USR1 = """
import pathlib, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: (time.sleep(0.3), sys.exit(130)))
pathlib.Path("ready").touch()
time.sleep(20)
""".replace("'", '"')


def test_a_worker_that_the_time_limit_ends_goes_back_into_the_queue(tmp_path):
    assert shell(tmp_path, ENDS_AT_USR1, signal.SIGUSR1) == (130, "requeue 7_3\n")


def test_a_job_that_was_cancelled_does_not(tmp_path):
    assert shell(tmp_path, ENDS_AT_USR1, signal.SIGTERM) == (130, "")


@pytest.mark.parametrize("status", [0, 2, 3])
def test_a_worker_that_ends_by_itself_is_the_job_s_status(tmp_path, status):
    assert shell(tmp_path, f"raise SystemExit({status})", None) == (status, "")


def test_devices_are_the_queue_s_to_give(bench):
    assert_one_sentence(bench.inside(*SUBMIT, "--devices", "cuda:0"), "--devices is for one machine", "--gres")


def test_where_there_is_no_slurm_the_script_is_left_to_be_taken_elsewhere(bench, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda _: None)
    assert_one_sentence(bench.inside(*SUBMIT), "there is no sbatch on this machine", "submit.sh can be submitted")
    assert (bench.folder / FOLDER / "worklist-mine.json").is_file()
    assert (bench.folder / FOLDER / "submit.sh").read_text().startswith("#!/bin/bash\n")


@pytest.fixture(scope="module")
def cluster():
    try:
        with slurm_cluster.cluster() as running:
            yield running
    except slurm_cluster.CannotStartError as error:
        pytest.skip(str(error))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The command line in a folder, where jobs find this project too."""
    bench = command_line(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", bench.environment["BENCH_CACHE"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(slurm, "sys", SimpleNamespace(executable=warm.program(tmp_path)))  # the jobs import nothing
    return bench


def submitted(place, workers, *arguments):
    done = place.inside(*SUBMIT, "--workers", str(workers), *arguments)
    assert done.returncode == 0, done.stderr
    return re.search(rf"job (\d+): {workers} workers for \d+ cells", done.stderr).group(1)


def holders(place):
    found = [claims.holder(path.parent) for path in (place.folder / FOLDER).glob("*/claim-*.json")]
    return [holder for holder in found if holder is not None]


def until(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def recorded(place):
    found = records.read_all(place.folder / FOLDER) if (place.folder / FOLDER).is_dir() else None
    return [] if found is None else [made for made in found.records if made.status == "ok"]


def logs(place):
    return "".join(path.read_text() for path in sorted((place.folder / FOLDER / "slurm").glob("*.log")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_cells_are_recorded_through_kills_cancelling_requeues_and_a_dead_node(cluster, place):
    undisturbed = run_mine(place, "--out", "undisturbed", "--epochs", "25", cells_too=True)
    assert undisturbed.returncode == 0, undisturbed.stderr
    job = submitted(place, 4, "--epochs", "25")
    until(lambda: len(holders(place)) >= 3)
    held = holders(place)
    os.kill(held[0].process, signal.SIGKILL)  # a worker
    cluster.ask("scontrol", "requeue", held[1].job)  # a job
    cluster.ask("scancel", held[2].job)  # another one, for good
    until(lambda: len(recorded(place)) >= 3)
    cluster.kill_node("n2")
    time.sleep(1)
    cluster.start_node("n2")
    # What was cancelled or killed does not come back by itself: more workers, at any time, go on.
    more = place.inside("work", FOLDER)
    assert more.returncode == 0, more.stderr + logs(place)
    with contextlib.suppress(AssertionError):
        cluster.ask("scancel", job)
    made = {record.id: record for record in recorded(place)}
    assert len(made) == 12
    assert not list((place.folder / FOLDER).glob("*/claim-*"))
    for before in records.read_all(place.folder / "undisturbed").records:
        after = made[before.id]
        assert [epoch.losses for epoch in after.epochs] == [epoch.losses for epoch in before.epochs]
        assert [part.accuracy for part in after.strategies] == [part.accuracy for part in before.strategies]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_undisturbed_every_task_ends_well_and_each_sees_its_own_gpu(cluster, place):
    job = submitted(
        place, 2, "--seeds", "2", "--gres", "gpu:1", "--setup", "echo gpu $CUDA_VISIBLE_DEVICES on $SLURMD_NODENAME"
    )
    states = cluster.wait(job, 300)
    assert set(states.values()) == {"COMPLETED"}, logs(place)
    assert len(recorded(place)) == 4
    seen = re.findall(r"gpu (\d) on (n\d)", logs(place))
    assert len(set(seen)) == 2
    assert Path(place.folder / FOLDER / "submit.sh").is_file()
