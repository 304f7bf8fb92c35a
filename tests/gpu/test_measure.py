"""The measurements of `nox -s gpu` run without a GPU too: who has one for half an hour must not find a mistake."""

import json

import measure
import pytest


@pytest.mark.slow
def test_every_contestant_and_loader_has_its_numbers(tmp_path, capsys):
    assert measure.main([str(tmp_path / "out" / "gpu.json"), "--small", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert [row["loader"] for row in found["loaders"]] == ["memory", "device"]
    assert all(0 <= row["share of waiting"] < 1 for row in found["loaders"])
    by_step = {(row["precision"], row["step"]): row for row in found["steps"]}
    compiled = {("bf16", f"{name}, compiled") for name in measure.COMPILED}
    eager = {(precision, name) for precision in ("float32", "bf16") for name in measure.CONTESTANTS}
    assert set(by_step) == eager | compiled
    assert all(row["images per second"] > 0 for row in by_step.values())
    assert by_step["float32", "asge"]["live bytes"] < by_step["float32", "backprop"]["live bytes"]
    assert "steps on a CPU" in capsys.readouterr().out


def test_what_there_is_no_time_for_is_said_to_be_left_out():
    rows = list(measure.steps(measure.SMALL, measure.torch.device("cpu"), end=0.0))
    assert {row["left out"] for row in rows} == {"no time was left"}
