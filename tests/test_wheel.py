"""The wheel alone, without a checkout: it runs a suite, checks it and shows the table."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

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

    def run(*command):
        done = subprocess.run(
            [str(part) for part in command], cwd=here, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def program(name, *arguments):
        return run(thin / "bin" / name, *arguments)

    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    [wheel] = folder.glob("*.whl")
    thin = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", thin)
    site = next(thin.glob("lib/python*/site-packages"))
    dependencies = str(Path(torch.__file__).parents[1])
    (site / "shared.pth").write_text(f"import site; site.addsitedir({dependencies!r})\n")
    run(sys.executable, "-m", "pip", "--python", thin / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return program


def test_the_code_that_runs_is_the_wheels_and_has_no_commit(installed):
    program = "import bench; from bench.measure.environment import code; print(bench.__file__); print(code().commit)"
    file, commit = installed("python", "-c", program).splitlines()
    assert not Path(file).is_relative_to(ROOT)
    assert "/environment/lib/" in file
    assert commit == "None"


def test_it_knows_its_version_and_its_types(installed):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed("bench", "--version") == f"bench {version}\n"
    program = "import asge, baselines, bench; print(*(next(iter(m.__path__)) for m in (asge, baselines, bench)))"
    assert all((Path(folder) / "py.typed").is_file() for folder in installed("python", "-c", program).split())


def test_suites_and_references_come_along(installed):
    found = json.loads(installed("bench", "list", "--format", "json"))
    shipped = {path.stem for path in (ROOT / "bench" / "suites").glob("*.toml")}
    assert {row["name"] for row in found if row["kind"] == "suite"} == shipped
    looked_at = {row["what"]: row["state"] for row in json.loads(installed("bench", "doctor", "--format", "json"))}
    measured = sorted(path.stem for path in (ROOT / "results" / "reference" / "measured").glob("*.json"))
    assert looked_at["references"] == ", ".join(measured)
    program = "from bench.reference import published; print(published.accuracy('asge', {}, 'mnist'))"
    assert float(installed("python", "-c", program)) > 99


def test_a_suite_runs_is_checked_and_has_a_table(installed):
    installed("bench", "run", "smoke")
    installed("bench", "check", "smoke")
    rows = json.loads(installed("bench", "table", "--format", "json"))
    assert {row["method"] for row in rows} == {"asge", "ff", "cwc", "local-error", "backprop"}
    assert {row["status"] for row in rows} == {"ok"}
