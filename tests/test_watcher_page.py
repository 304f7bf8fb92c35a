"""The examples of watchers: the page shows them, and they send what they say, to stand-ins of the real modules."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from command_line import RUN, assert_one_sentence, command_line

from bench import registry
from bench.running import watchers

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-watcher.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_examples():
    assert blocks("python") == [(EXAMPLES / f"{name}_watcher.py").read_text() for name in ("mlflow", "wandb")]
    [point] = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]["bench.watchers"].items()
    assert point == ("mlflow", "mlflow_watcher:ToMLflow")


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_watcher", EXAMPLES / f"{name}_watcher.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registered(monkeypatch):
    """Registers watchers under their names."""

    def register(**makers):
        def find(group, kind, name):
            if group != watchers.GROUP:
                return found(group, kind, name)
            return makers[name] if name in makers else found(group, kind, name)

        found = registry.load
        monkeypatch.setattr(registry, "load", find)

    return register


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return command_line(tmp_path_factory.mktemp("watched"))


def run(bench, *arguments):
    done = bench.inside(*RUN, "--methods", "backprop", "--out", "runs", *arguments, cells_too=True)
    assert done.returncode == 0, done.stderr
    return done


def test_mlflow_gets_settings_epochs_and_the_record(bench, registered, monkeypatch):
    calls = []
    fake = ModuleType("mlflow")
    for name in ("set_experiment", "start_run", "log_params", "log_metrics", "log_artifact", "end_run"):
        setattr(fake, name, lambda *given, name=name, **more: calls.append((name, given, more)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    registered(mlflow=load("mlflow").ToMLflow)
    run(bench, "--watchers", "mlflow", "--force")
    assert [name for name, *_ in calls] == [
        "set_experiment", "start_run", "log_params", *["log_metrics"] * 3, "log_metrics", "log_artifact", "end_run",
    ]  # fmt: skip
    assert calls[0][1] == ("mine",)
    assert calls[2][1][0]["plan"] == "8,M,16"
    assert [more["step"] for name, _, more in calls if name == "log_metrics" and more] == [1, 2, 3]
    assert set(calls[3][1][0]) == {"validation logits", "loss loss"}
    assert set(calls[6][1][0]) == {"test logits"}
    assert (bench.folder / calls[7][1][0]).is_file()
    assert calls[8][1] == ("FINISHED",)


def test_weights_and_biases_get_them_too(bench, registered, monkeypatch):
    started, logged, ended = [], [], []

    def init(**given):
        started.append(given)
        return SimpleNamespace(
            log=lambda values, step: logged.append((step, values)), summary={}, finish=lambda **how: ended.append(how)
        )

    fake = ModuleType("wandb")
    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    registered(wandb=load("wandb").ToWeightsAndBiases)
    run(bench, "--watchers", "wandb", "--force")
    assert (started[0]["group"], started[0]["config"]["method"]) == ("mine", "backprop")
    assert [step for step, _ in logged] == [1, 2, 3]
    assert set(logged[0][1]) == {"validation", "loss"}
    assert ended == [{"exit_code": 0}]


def test_a_watcher_that_fails_costs_no_cell_and_is_named_once(bench, registered):
    heard = []

    class Fails:
        def __init__(self, suite, folder):
            heard.append((suite, str(folder)))

        def cell_event(self, cell, event):
            raise RuntimeError("no network")

        def close(self):
            heard.append("closed")

    def cannot(suite, folder):
        raise OSError("no such host")

    class Good:
        def __init__(self, suite, folder):
            self.finished = heard.append

        def cell_finished(self, cell, outcome):
            self.finished(outcome.record.status)

        def close(self):
            heard.append("good closed")

    registered(fails=Fails, cannot=cannot, good=Good)
    done = run(bench, "--watchers", "fails,cannot,good", "--force")
    assert heard == [("mine", "runs"), "ok", "good closed"]
    assert (
        done.stderr.count("note: watcher 'fails' failed in cell_event, and is left out: RuntimeError: no network") == 1
    )
    assert "note: watcher 'cannot' cannot start, and is left out: OSError: no such host" in done.stderr


def test_a_watcher_that_does_not_exist_is_one_sentence(bench):
    assert_one_sentence(bench.inside(*RUN, "--watchers", "nowhere"), "'nowhere'", "watcher")
