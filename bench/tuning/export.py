"""Exports studies as a suite: the best settings of each method, with their origin."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import optuna

from bench import records
from bench.errors import UserError
from bench.measure import environment
from bench.methods import settings
from bench.tuning import study as studies
from bench.tuning import tuner

COMMON = ("task", "epochs", "batch_size", "augmentation", "train_samples")
"""Attributes that all studies of one suite must share."""


def suite(found: Sequence[optuna.Study]) -> dict[str, Any]:
    """The content of a suite file, one method per study.

    Raises:
        UserError: if there is no study, two are of one method, they differ in task, epochs, ..., or one has no
            successful trial.
    """
    by_method: dict[str, optuna.Study] = {}
    for each in found:
        method = each.user_attrs.get("method")
        if method is None:
            raise UserError(f"study {each.study_name!r} was not made by bench tune")
        if method in by_method:
            raise UserError(f"studies {by_method[method].study_name!r} and {each.study_name!r} are both of {method}")
        by_method[method] = each
    first = found[0]
    for each in found[1:]:
        for key in COMMON:
            if each.user_attrs[key] != first.user_attrs[key]:
                raise UserError(
                    f"studies {first.study_name!r} and {each.study_name!r} differ in {key}: "
                    f"{first.user_attrs[key]!r} and {each.user_attrs[key]!r}"
                )
    content: dict[str, Any] = {
        "description": f"Tuned on {first.user_attrs['task']}: {', '.join(by_method)}",
        "tasks": [first.user_attrs["task"]],
        "seeds": 3,
        "epochs": first.user_attrs["epochs"],
        "batch_size": first.user_attrs["batch_size"],
        "augmentation": first.user_attrs["augmentation"],
    }
    if first.user_attrs["train_samples"] is not None:
        content["train_samples"] = first.user_attrs["train_samples"]
    content["methods"] = {method: _changed(method, each) for method, each in by_method.items()}
    content["tuning"] = {method: provenance(each) for method, each in by_method.items()}
    return content


def provenance(found: optuna.Study) -> dict[str, Any]:
    """Origin and tuning budget of a study's best settings."""
    chosen = tuner.best(found)
    ended = [trial for trial in found.get_trials(deepcopy=False) if trial.state.is_finished()]
    accuracies = tuner.by_seed(found, chosen)
    return {
        "study": found.study_name,
        "trial": chosen.number,
        "seeds": sorted(accuracies),
        "validation": [round(accuracies[seed], 2) for seed in sorted(accuracies)],
        "trials": studies.counted(found),
        "epochs": found.user_attrs["epochs"],
        "seconds": round(sum(trial.user_attrs.get("seconds", 0.0) for trial in ended), 3),
        "commit": environment.code().commit or "unknown",
        "exported": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def toml(content: dict[str, Any]) -> str:
    """A suite's content as TOML: nested tables of values; None is left out."""
    lines: list[str] = []
    _write(content, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def write(content: dict[str, Any], path: Any) -> None:
    """Write a suite file atomically."""
    records.write_text(path, toml(content))


def _changed(method: str, found: optuna.Study) -> dict[str, Any]:
    """The best trial's settings that differ from the method's defaults."""
    drawn = tuner.best(found).user_attrs["settings"]
    whole = settings.complete(method, {**found.user_attrs["base"], **drawn})
    default = settings.complete(method, {})
    return {key: value for key, value in whole.items() if value != default[key]}


def _write(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    if path:
        lines += ["", f"[{'.'.join(path)}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict | None)]
    for key, value in table.items():
        if isinstance(value, dict):
            _write(value, (*path, key), lines)
