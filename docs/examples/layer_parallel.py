"""ASGE on scikit-learn's digits, its blocks spread over several processes.

python -m torch.distributed.run --standalone --nproc-per-node 2 docs/examples/layer_parallel.py
"""

import os
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist

from asge import ASGESettings, strategies
from asge.parallel import LayerParallelTrainer
from bench.data import loaders
from bench.data.sets import splits, tasks

EPOCHS = 10


def main() -> None:
    """Train, then predict with the whole network in the first process."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    task, device = tasks.get_task("digits"), torch.device("cpu")
    parts = splits.split(task, task.read(None))

    def loader(part: splits.Split, *, shuffle: bool) -> loaders.Loader:
        options = {"batch_size": 64, "seed": 0, "shuffle": shuffle, "augmentation": (), "device": device}
        return loaders.make_loader("memory", task, part, **options)

    train = loader(parts.train, shuffle=True)
    budget = SimpleNamespace(epochs=EPOCHS, steps_per_epoch=len(train))
    settings = ASGESettings(plan="tiny", learning_rate=1e-2)
    sizes = [len(labels) for _, labels in train.epoch(0)]
    trainer = LayerParallelTrainer(task, settings, budget, device, torch.Generator().manual_seed(0), sizes=sizes)
    for epoch in range(EPOCHS):
        losses = trainer.train_epoch(train.epoch(epoch) if dist.get_rank() == 0 else None)
        print(f"process {dist.get_rank()}, epoch {epoch + 1}: {losses}", flush=True)
    trainer.gather()

    if dist.get_rank() == 0:
        strategies.choose_best_layer(trainer.network, loader(parts.validation, shuffle=False).epoch(0))
        for strategy in strategies.STRATEGIES:
            hits = [
                (strategies.predict(trainer.network, images, strategy).argmax(1) == labels).sum()
                for images, labels in loader(parts.test, shuffle=False).epoch(0)
            ]
            print(f"{strategy}: {100 * int(sum(hits)) / len(parts.test):.2f} % of the test images")
    dist.barrier()  # no process goes while another still works
    dist.destroy_process_group()
    # Left to Python's own end, a thread of gloo's that is still there aborts the process now and then.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
