"""A watcher of your own: every cell becomes a run of Weights & Biases."""

from pathlib import Path
from typing import Any

import wandb

from bench.plugins import CellSpec, Outcome


class ToWeightsAndBiases:
    """Sends settings when a cell starts, validation accuracy and losses by epoch, test accuracies at the end."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.suite = suite

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        config = {"method": cell.method, "task": cell.task, "seed": cell.seed, **cell.settings}
        self.run = wandb.init(project="local-learning-bench", group=self.suite, name=cell.id, config=config)

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            self.run.log({"validation": event["validation"], "loss": event["losses"]}, step=event["epoch"])

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        if outcome.reused:  # it was finished before, and has not started now
            return
        if outcome.record is not None:
            self.run.summary.update({f"test {part.strategy}": part.accuracy for part in outcome.record.strategies})
        self.run.finish(exit_code=1 if outcome.problem else 0)
