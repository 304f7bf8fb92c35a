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
from torch.utils._python_dispatch import TorchDispatchMode

from asge import ASGELearner, ASGESettings
from asge.network import parse_plan
from asge.parallel import LayerParallelTrainer, balanced, bound, multiplications, seconds_by_block
from asge.strategies import choose_best_layer

TASK = SimpleNamespace(shape=(1, 12, 12), classes=4)
BUDGET = SimpleNamespace(epochs=2, steps_per_epoch=3)
SETTINGS = ASGESettings(plan="6,M,8,8s,12", dropout=0.2, features="propagated", first_layer="whitened")
SIZES = (16, 16, 5)
CPU = torch.device("cpu")
VALIDATION = [(torch.randn(50, 1, 12, 12, generator=torch.Generator().manual_seed(9)), torch.arange(50) % 4)]


def batches(epoch):
    """The last one is smaller."""
    generator = torch.Generator().manual_seed(epoch)
    for size in SIZES:
        yield torch.randn(size, 1, 12, 12, generator=generator), torch.randint(4, (size,), generator=generator)


def make(generator=None, **others):
    drawn = generator or torch.Generator().manual_seed(0)
    return LayerParallelTrainer(TASK, SETTINGS, BUDGET, CPU, drawn, sizes=SIZES, **others)


class Reads(TorchDispatchMode):
    """Counts the values that the host reads of a tensor: on a GPU, it would wait for each of them."""

    count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        self.count += operation.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)
        return operation(*arguments, **(keywords or {}))


def one_process(rank, stages, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=stages)
    trainer = make()
    losses = [trainer.train_epoch(batches(0) if rank == 0 else None)]
    state = trainer.state_dict()
    torch.save(state, f"{folder}/state-{rank}.pt")
    trainer.train_epoch(batches(5) if rank == 0 else None)  # another one goes on from the state
    trainer = make(torch.Generator().manual_seed(7))
    trainer.load_state_dict(torch.load(f"{folder}/state-{rank}.pt", weights_only=True))
    with Reads() as reads:
        losses.append(trainer.train_epoch(batches(1) if rank == 0 else None))
    assert reads.count <= len(losses[-1])  # each mean loss once, after the last batch: no step waits for a value
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


def test_stages_are_balanced_by_their_work():
    equal = multiplications(parse_plan("8,8,8,8,8", (8, 4, 4)))
    assert equal == 5 * [9 * 8 * 8 * 16]
    assert balanced(equal, 1) == [range(5)]
    assert balanced(equal, 2) in ([range(2), range(2, 5)], [range(3), range(3, 5)])
    assert balanced(multiplications(parse_plan("8,M,16,M,16", (64, 16, 16))), 2) == [range(1), range(1, 3)]
    assert balanced(equal, 5) == [range(i, i + 1) for i in range(5)]
    with pytest.raises(ValueError, match="5 layers make from 1 to 5 stages, not 6"):
        balanced(equal, 6)


def test_the_slowest_stage_bounds_the_gain():
    assert bound(5 * [2.0], 1) == 1
    assert bound(5 * [2.0], 2) == 10 / 6
    assert bound([1, 1, 1, 9], 4) == 12 / 9


def test_the_table_of_bounds_is_computed():
    page = (Path(__file__).parents[2] / "docs" / "asge.md").read_text()
    lines = page.partition("<!-- bounds -->\n")[2].partition("<!-- end")[0].strip().splitlines()
    assert len(lines) == 5
    equal = (",".join(16 * ["64"]), (64, 16, 16))
    for line in lines[2:]:
        name, *shown = (cell.strip() for cell in line.strip("|").split("|"))
        plan, shape = equal if name == "16 equal blocks" else (name.split("`")[1], (3, 32, 32))
        work = multiplications(parse_plan(plan, shape))
        assert [f"{bound(work, stages):.2f}" for stages in (2, 4, 7)] == shown


def test_the_time_of_every_block_is_measured():
    images, labels = next(batches(0))
    seconds = seconds_by_block(TASK, SETTINGS, images, labels, torch.Generator().manual_seed(0))
    assert len(seconds) == 4
    assert min(seconds) > 0


def test_the_state_of_another_stage_is_refused(alone):
    trainer = make()
    state = trainer.state_dict()
    with pytest.raises(ValueError, match=r"it is the state of blocks \[1, 4\], this stage has range\(0, 4\)"):
        trainer.load_state_dict({**state, "numbers": [1, 4]})


@pytest.mark.parametrize("sizes", [(16, 16), (16, 16, 5, 5), (16, 5, 16)])
def test_batches_of_other_sizes_are_refused(alone, sizes):
    images, labels = torch.randn(16, 1, 12, 12), torch.arange(16) % 4
    with pytest.raises(ValueError, match=r"sizes, \[16, 16, 5\]"):
        make().train_epoch((images[:size], labels[:size]) for size in sizes)


@pytest.fixture
def alone(tmp_path):
    """A group of one process, this one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_what_does_not_fit_is_refused(alone):
    with pytest.raises(ValueError, match="the first process gets the batches"):
        make().train_epoch()
    for settings in (ASGESettings(classifier_epochs=1), ASGESettings(blocks="random")):
        with pytest.raises(ValueError, match="classifier_epochs must be 0, blocks 'trained'"):
            LayerParallelTrainer(TASK, settings, BUDGET, CPU, torch.Generator(), sizes=SIZES)


@pytest.mark.slow
def test_the_example_runs():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    example = Path(__file__).parents[2] / "docs" / "examples" / "layer_parallel.py"
    done = subprocess.run([*command, example], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    by_strategy = dict(re.findall(r"^(last|fusion|best): ([0-9.]+) %", done.stdout, re.MULTILINE))
    assert set(by_strategy) == {"last", "fusion", "best"}
    assert min(map(float, by_strategy.values())) > 80
