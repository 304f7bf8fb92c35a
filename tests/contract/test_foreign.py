"""A method and a task of somebody else's package, found through its entry points, are as good as this project's own."""

import json
import os
import subprocess
import sys

import foreign
import pytest
import warm
from foreign import ROOT

SUITE = """
tasks = ["stripes"]
seeds = 1
epochs = 3
batch_size = 50
loader = "memory"
threads = 1
yardstick = "random-features"
[methods.random-features]
[methods.asge]
plan = "8,M,16"
"""


COMMANDS = """
import contextlib, io, json
from bench.cli import app

def main(lines):
    done = []
    for line in json.loads(lines[0]):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = int(app.main(line))
        done.append([status, out.getvalue(), err.getvalue()])
    print(json.dumps(done))
    return 0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    foreign.write(folder)
    return folder


def run(folder, module, *arguments, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    if module == "bench":
        return warm.run(arguments, cwd=cwd, env=environment)
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        check=False,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_the_example_is_short():
    assert len((ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.slow
def test_the_contract_tests_find_and_pass_both(site):
    done = run(
        site, "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_methods.py",
        "tests/contract/test_layers.py", "tests/contract/test_tasks.py", "-k", "random-features or stripes",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= 14


@pytest.mark.slow
def test_a_suite_runs_them_to_a_table_with_its_fairness(site, tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE, encoding="utf-8")
    out = tmp_path / "out"
    done = run(site, "bench", "run", "mine.toml", "--no-plots", "--no-report", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stripes: what was equal" in done.stdout
    table = json.loads(run(site, "bench", "table", str(out), "--format", "json").stdout)
    accuracies = {(row["method"], row["strategy"]): row["accuracy"] for row in table}
    assert accuracies["random-features", "logits"] > 95


@pytest.mark.slow
def test_what_it_was_before_a_change_is_not_taken_for_what_it_is(tmp_path):
    (tmp_path / "site").mkdir()
    foreign.write(tmp_path / "site")
    (tmp_path / "mine.toml").write_text(SUITE.replace("epochs = 3", "epochs = 1"), encoding="utf-8")
    mine = ("mine.toml", "--methods", "random-features", "--no-plots", "--no-report", "--out", str(tmp_path / "out"))

    def bench(*lines):
        """Status, output and messages of several commands, one after the other in one process, which imports once."""
        (tmp_path / "commands.py").write_text(COMMANDS)
        path = os.pathsep.join(map(str, [tmp_path, tmp_path / "site", ROOT]))
        done = warm.run([json.dumps(lines)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, module="commands")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    strict = ["table", "out", "--strict", "--format", "markdown"]
    first, table = bench(["run", *mine], strict)
    assert (first[0], table[0]) == (0, 0), first + table
    assert "finished before" not in first[2]

    module = tmp_path / "site" / "random_features.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    [table] = bench(strict)
    assert table[0] == 0, table
    learns_nothing = "\nLearner.train_step = lambda self, images, labels: {'loss': images.new_zeros(())}\n"
    module.write_text(module.read_text(encoding="utf-8") + learns_nothing, encoding="utf-8")

    old, checked, reused, refreshed, new, again = bench(
        strict,
        ["check", "mine.toml", "--runs", "out"],
        ["run", *mine, "--any-code"],
        ["refresh", "out"],
        ["table", "out", "--strict", "--format", "json"],
        ["run", *mine],
    )
    assert old[0] == 1
    assert "ok, other code" in old[1]
    assert checked[0] == 4
    assert "no record of any seed" in checked[2]
    assert "finished before" in reused[2]
    assert refreshed[0] == 0
    assert "1 of 1 records measured again" in refreshed[2]
    [row] = json.loads(new[1])
    assert row["accuracy"] == 50
    assert "finished before" in again[2]
