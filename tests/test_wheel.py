"""The wheel alone, without a checkout: it runs a suite, and methods, tasks and figures of a package beside it."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import foreign
import pytest
import torch

ROOT = Path(__file__).parents[1]

LINES = """
import matplotlib.pyplot as plt


def draw(runs, colors):
    figure, axes = plt.subplots()
    for name, record in runs:
        axes.plot([epoch.seconds for epoch in record.epochs], color=colors[name])
    return figure
"""
SUITE = """
tasks = ["stripes"]
epochs = 2
batch_size = 50
loader = "memory"
threads = 1
yardstick = "random-features"
[methods.random-features]
"""

COMMANDS = """
import contextlib, io, json, sys
from bench.cli import app
printed = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as told:
        status = app.main(line)
    assert status == 0, (line, told.getvalue())
    printed.append(told.getvalue())
print(json.dumps(printed))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs a program of a fresh environment, in which the wheel is installed over this one's dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    here = folder / "here"
    here.mkdir()
    environment = {**os.environ, "BENCH_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    for name in ("BENCH_REFERENCE", "BENCH_DATA", "PYTHONPATH"):
        environment.pop(name, None)

    def run(*command, status=0):
        done = subprocess.run(
            [str(part) for part in command], cwd=here, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def program(name, *arguments, status=0):
        return run(thin / "bin" / name, *arguments, status=status)

    def install(source):
        """Build the wheel of a package and install it."""
        wheels = folder / f"wheels-{source.name}"
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], cwd=source, check=True
        )
        pip = (sys.executable, "-m", "pip", "--python", thin / "bin" / "python")
        run(*pip, "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))

    thin = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", thin)
    site = next(thin.glob("lib/python*/site-packages"))
    dependencies = str(Path(torch.__file__).parents[1])
    (site / "shared.pth").write_text(f"import site; site.addsitedir({dependencies!r})\n")
    install(ROOT)

    def commands(*lines):
        """What several commands print, one after the other in one process: most of a process's time are its imports."""
        script = folder / "commands.py"
        script.write_text(COMMANDS)
        return json.loads(program("python", script, json.dumps([[str(part) for part in line] for line in lines])))

    program.install = install
    program.commands = commands
    return program


def test_it_is_the_wheels_code_with_its_version_types_and_published_numbers(installed):
    program = """
import asge, baselines, bench
from bench.measure.environment import code
from bench.reference import published
from bench.suites.describe import description
print(bench.__file__, code().commit, published.figure(description('asge', {}, 'mnist')).value)
print(*(next(iter(module.__path__)) for module in (asge, baselines, bench)))
"""
    first, folders = installed("python", "-c", program).splitlines()
    file, commit, figure = first.split()
    assert not Path(file).is_relative_to(ROOT)
    assert "/environment/lib/" in file
    assert commit == "None"
    assert float(figure) > 99
    assert all((Path(folder) / "py.typed").is_file() for folder in folders.split())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed("bench", "--version") == f"bench {version}\n"


def test_a_suite_runs_is_checked_and_has_a_table_by_the_suites_and_references_in_the_wheel(installed):
    installed("bench", "run", "smoke", "--no-plots", "--rough")
    listed, looked_at, _, rows = map(
        json.loads,
        installed.commands(
            ("list", "--format", "json"), ("doctor", "--format", "json"), ("check", "smoke", "--format", "json"),
            ("table", "--format", "json"),
        ),
    )  # fmt: skip
    shipped = {path.stem for path in (ROOT / "bench" / "suites").glob("*.toml")}
    assert {row["name"] for row in listed if row["kind"] == "suite"} == shipped
    measured = sorted(path.stem for path in (ROOT / "results" / "reference" / "measured").glob("*.json"))
    assert {row["what"]: row["state"] for row in looked_at}["references"] == ", ".join(measured)
    assert {row["method"] for row in rows} == {"asge", "ff", "cwc", "local-error", "backprop"}
    assert {row["status"] for row in rows} == {"ok"}


def write_package(folder, name, entry_points, **modules):
    """The source of a package of somebody else's."""
    folder.mkdir()
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    lines = [f'project.entry-points."bench.{kind}s".{key} = "{value}"' for kind, (key, value) in entry_points.items()]
    (folder / "pyproject.toml").write_text(
        "\n".join([
            f'project.name = "{name}"', 'project.version = "1.0"', *lines,
            'build-system.requires = ["hatchling"]', 'build-system.build-backend = "hatchling.build"',
            f"tool.hatch.build.targets.wheel.only-include = {[f'{module}.py' for module in modules]}",
        ])
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def extended(installed, tmp_path_factory):
    """The same environment, with the wheel of a package beside it that has a method, a task and a figure."""
    [method] = foreign.code_blocks((ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8"), "python")
    points = {
        "method": ("random-features", "random_features:RandomFeatures"),
        "task": ("stripes", "stripes:STRIPES"),
        "figure": ("seconds", "seconds:draw"),
    }
    modules = {"random_features": method, "stripes": foreign.TASK, "seconds": LINES}
    folder = tmp_path_factory.mktemp("packages")
    installed.install(write_package(folder / "mine", "tiny-extension", points, **modules))
    misnamed = method.replace("def predict(", "def layer_logit(self, images):\n        return []\n\n    def predict(")
    points = {"method": ("misnamed", "misnamed:RandomFeatures")}
    installed.install(write_package(folder / "misnamed", "misnamed-extension", points, misnamed=misnamed))
    return installed


def test_a_package_beside_it_is_found_and_passes_its_tests(extended):
    rows, listed = map(
        json.loads, extended.commands(("test", "tiny-extension", "--format", "json"), ("list", "--format", "json"))
    )
    assert {(row["kind"], row["name"]) for row in rows} == {
        ("method", "random-features"), ("task", "stripes"), ("figure", "seconds"),
    }  # fmt: skip
    assert {row["status"] for row in rows if row["kind"] != "method"} == {"passed"}
    skipped = {row["check"]: row["reason"] for row in rows if row["status"] == "skipped"}
    assert skipped["layers-predict"] == "the learner has no layer_logits"
    assert {"random-features", "stripes", "seconds"} <= {row["name"] for row in listed}


def test_a_suite_trains_its_method_on_its_task_and_draws_its_figure(extended, tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    out = tmp_path / "runs"
    extended("bench", "run", tmp_path / "mine.toml", "--no-report", "--out", out)
    [row] = json.loads(extended("bench", "table", out, "--format", "json"))
    assert (row["task"], row["method"], row["status"]) == ("stripes", "random-features", "ok")
    assert row["accuracy"] > 90
    assert (out / "figures" / "mine" / "stripes-seconds.png").is_file()


def test_a_hook_of_another_name_is_named(extended):
    rows = json.loads(extended("bench", "test", "misnamed-extension", "--format", "json", status=3))
    [failed] = [row for row in rows if row["status"] == "failed"]
    assert failed["reason"] == "'layer_logit' is no hook; 'layer_logits' is"
