import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from asge import ASGELearner, ASGESettings
from asge.network import parse_plan
from asge.parallel import LayerParallelTrainer, balanced
from asge.strategies import choose_best_layer

TASK = SimpleNamespace(shape=(1, 12, 12), classes=4)
BUDGET = SimpleNamespace(epochs=2, steps_per_epoch=3)
SETTINGS = ASGESettings(plan="6,M,8,8s,12", dropout=0.2, features="propagated", first_layer="whitened")
CPU = torch.device("cpu")
VALIDATION = [(torch.randn(50, 1, 12, 12, generator=torch.Generator().manual_seed(9)), torch.arange(50) % 4)]


def batches(epoch):
    """The last one is smaller."""
    generator = torch.Generator().manual_seed(epoch)
    for size in (16, 16, 5):
        yield torch.randn(size, 1, 12, 12, generator=generator), torch.randint(4, (size,), generator=generator)


def one_process(rank, stages, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=stages)
    trainer = LayerParallelTrainer(TASK, SETTINGS, BUDGET, CPU, torch.Generator().manual_seed(0))
    losses = [trainer.train_epoch(batches(epoch) if rank == 0 else None) for epoch in range(BUDGET.epochs)]
    assert trainer.train_epoch([] if rank == 0 else None) == {}
    trainer.gather()
    choose_best_layer(trainer.network, VALIDATION)
    torch.save(
        {"losses": losses, "network": trainer.network.state_dict(), "best": trainer.network.best_layer},
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def fork_server():
    """Processes are forked from one that has only imported what they need, which takes seconds."""
    multiprocessing.set_forkserver_preload(["asge.parallel", "torch.distributed", "torch._dynamo", "pytest"])


@pytest.mark.slow
@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_stages_in_processes_of_their_own_learn_to_the_bit_what_one_process_learns(stages, tmp_path):
    mp.start_processes(one_process, (stages, tmp_path), nprocs=stages, start_method="forkserver")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learner = ASGELearner(TASK, SETTINGS, BUDGET, CPU, torch.Generator().manual_seed(0))
        expected = []
        for epoch in range(BUDGET.epochs):
            steps = [learner.train_step(*batch) for batch in batches(epoch)]
            expected.append({name: float(sum(step[name] for step in steps)) / len(steps) for name in steps[0]})
    finally:
        torch.set_num_threads(threads)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(stages)]
    merged = [{name: loss for part in parts for name, loss in part["losses"][e].items()} for e in range(BUDGET.epochs)]
    assert merged == expected
    learner.finish(VALIDATION)
    for part in parts:
        assert part["best"] == learner.network.best_layer
        for name, value in learner.network.state_dict().items():
            assert torch.equal(part["network"][name], value), name


def test_stages_are_balanced_by_their_multiplications():
    layers = parse_plan("8,8,8,8,8", (8, 4, 4))
    assert balanced(layers, 1) == [range(5)]
    assert balanced(layers, 2) in ([range(2), range(2, 5)], [range(3), range(3, 5)])
    assert balanced(parse_plan("8,M,16,M,16", (64, 16, 16)), 2) == [range(1), range(1, 3)]
    assert balanced(layers, 5) == [range(i, i + 1) for i in range(5)]
    with pytest.raises(ValueError, match="5 layers make from 1 to 5 stages, not 6"):
        balanced(layers, 6)


def test_what_does_not_fit_is_refused(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="the first process gets the batches"):
            LayerParallelTrainer(TASK, SETTINGS, BUDGET, CPU, torch.Generator()).train_epoch()
        for settings in (ASGESettings(classifier_epochs=1), ASGESettings(blocks="random")):
            with pytest.raises(ValueError, match="classifier_epochs must be 0, blocks 'trained'"):
                LayerParallelTrainer(TASK, settings, BUDGET, CPU, torch.Generator())
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_the_example_runs():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    example = Path(__file__).parents[2] / "docs" / "examples" / "layer_parallel.py"
    done = subprocess.run([*command, example], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    by_strategy = dict(re.findall(r"^(last|fusion|best): ([0-9.]+) %", done.stdout, re.MULTILINE))
    assert set(by_strategy) == {"last", "fusion", "best"}
    assert min(map(float, by_strategy.values())) > 80
