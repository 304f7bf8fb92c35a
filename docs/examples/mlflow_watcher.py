"""A watcher of your own: every cell becomes a run of MLflow."""

from pathlib import Path
from typing import Any

import mlflow

from bench.plugins import CellSpec, Outcome


class ToMLflow:
    """Sends settings when a cell starts, validation accuracy and losses by epoch, test accuracies at the end."""

    def __init__(self, suite: str, folder: Path) -> None:
        mlflow.set_experiment(suite)
        self.folder = folder

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        mlflow.start_run(run_name=cell.id)
        mlflow.log_params({"method": cell.method, "task": cell.task, "seed": cell.seed, **cell.settings})

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            metrics = {f"validation {name}": value for name, value in event["validation"].items()}
            metrics |= {f"loss {name}": value for name, value in event["losses"].items()}
            mlflow.log_metrics(metrics, step=event["epoch"])

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        if outcome.reused:  # it was finished before, and has not started now
            return
        if outcome.record is not None:
            mlflow.log_metrics({f"test {part.strategy}": part.accuracy for part in outcome.record.strategies})
            mlflow.log_artifact(str(self.folder / cell.id / "record.json"))
        mlflow.end_run("FAILED" if outcome.problem else "FINISHED")
