"""The opening of a cell: its learner's input data, and the losses of its first steps, without the rest."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch

from bench.measure import environment
from bench.measure.determinism import deterministic
from bench.measure.precision import computing
from bench.records import CellSpec
from bench.reference.golden import Opening
from bench.reference.measured import Machine
from bench.running import parts, training


def take(spec: CellSpec, data_dir: Path | None) -> Opening:
    """Run a cell's first ``training.OPENING_STEPS`` steps, exactly as a whole run would.

    Raises:
        UserError: if the data is not available.
    """
    device = torch.device(spec.device)
    with (
        environment.threads(spec.threads),
        deterministic(device),
        computing(spec.precision, device),
        parts.data(spec, data_dir) as data,
    ):
        learner, _ = parts.learner(spec, len(data.train))
        learner.begin_epoch(0)
        steps = [learner.train_step(*batch) for batch in islice(data.train.epoch(0), training.OPENING_STEPS)]
        losses = {name: [float(step[name]) for step in steps] for name in steps[0]}
        machine = Machine.of(environment.environment(device))
        inputs = {"train": data.train.digest, "validation": data.validation.digest, "test": data.test.digest}
        return Opening(spec.seed, machine, inputs, losses)
