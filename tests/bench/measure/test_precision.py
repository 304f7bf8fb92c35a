"""Precision as a condition of a cell: what it switches, where it is checked, and what it is part of."""

import pytest
import torch
from command_line import assert_one_sentence, run_mine

from bench import records, suites
from bench.measure.precision import computing

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_tf32_is_on_only_where_it_is_asked_for(precision, monkeypatch):
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    monkeypatch.setattr(convolutions, "allow_tf32", True)
    with computing(precision, CPU):
        assert products.allow_tf32 == convolutions.allow_tf32 == (precision == "tf32")
    assert (products.allow_tf32, convolutions.allow_tf32) == (False, True)


def test_in_bf16_products_are_bfloat16_of_the_weights_as_they_are():
    weight, x = torch.nn.Parameter(torch.ones(3, 3)), torch.ones(2, 3)
    with computing("bf16", CPU):
        before = x @ weight
        with torch.no_grad():
            weight += 1
        after = x @ weight
    assert before.dtype == after.dtype == torch.bfloat16
    assert (before.detach()[0, 0].item(), after.detach()[0, 0].item()) == (3, 6)
    assert (x @ weight).dtype == torch.float32


def cells(**changes):
    return suites.cells(suites.load("smoke"), suites.Overrides(threads=1, **changes))


def test_float32_and_eager_are_no_part_of_a_name_and_others_are():
    plain = cells()
    assert [cell.id for cell in cells(precision="float32", execution="eager")] == [cell.id for cell in plain]
    for changes in ({"precision": "bf16"}, {"execution": "compiled"}):
        other = cells(**changes)
        assert not {cell.id for cell in other} & {cell.id for cell in plain}
        assert not {cell.experiment for cell in other} & {cell.experiment for cell in plain}


def test_what_is_unknown_or_not_of_the_device_is_one_sentence(bench):
    assert_one_sentence(run_mine(bench, "--precision", "bf61"), "unknown precision 'bf61'", "did you mean 'bf16'")
    assert_one_sentence(run_mine(bench, "--precision", "tf32"), "precision 'tf32' is one of NVIDIA's GPUs")
    assert_one_sentence(run_mine(bench, "--execution", "compile"), "unknown execution 'compile'")


def test_a_method_without_a_compiled_step_is_one_sentence_before_anything_runs(bench):
    done = bench.inside("run", "smoke", "--execution", "compiled", "--methods", "ff", "--out", "out")
    assert_one_sentence(done, "method 'ff' has no compiled step", "execution 'eager'")
    assert not list((bench.folder / "out").glob("*/record.json"))


def test_a_run_in_bf16_is_recorded_as_one(bench):
    done = run_mine(bench, "--precision", "bf16", "--epochs", "1", "--out", "out", cells_too=True)
    assert done.returncode == 0, done.stderr
    made = records.read_all(bench.folder / "out").records
    assert {record.cell.precision for record in made} == {"bf16"}
    assert {record.overrides["precision"] for record in made} == {"bf16"}


@pytest.mark.slow
def test_a_compiled_run_has_the_counts_of_the_step_as_written(bench):
    for execution in ("eager", "compiled"):
        arguments = ("--execution", execution, "--epochs", "2", "--methods", "asge", "--out", execution, "--rough")
        done = run_mine(bench, *arguments, cells_too=True)
        assert done.returncode == 0, done.stderr
    [plain], [compiled] = (records.read_all(bench.folder / name).records for name in ("eager", "compiled"))
    assert compiled.cell.execution == "compiled"
    assert compiled.training.operations_per_step == plain.training.operations_per_step > 50
    assert compiled.training.peak_live_bytes == plain.training.peak_live_bytes
    for epoch, other in zip(plain.epochs, compiled.epochs, strict=True):
        assert other.losses == pytest.approx(epoch.losses, rel=1e-3)
