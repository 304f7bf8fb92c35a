"""Examines what is installed, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import methods
from bench.data import loaders
from bench.data.sets import sources, tasks
from bench.errors import UserError
from bench.measure.energy import ProcessorEnergy
from bench.measure.noise import NoiseMeter
from bench.reference.folder import measured_suites, reference_folder


@dataclass(frozen=True)
class Finding:
    """One thing that was examined; ``advice`` says what to do if something is wrong."""

    what: str
    state: str
    advice: str = ""


def examine() -> list[Finding]:
    """Examine everything that a run depends on; nothing is changed or downloaded."""
    return [
        Finding("python", platform.python_version()),
        Finding(
            "torch",
            f"{torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        ),
        _gpu(),
        _ffcv(),
        Finding("methods", ", ".join(methods.names())),
        *[_task(name) for name in tasks.task_names()],
        _noise(),
        _energy(),
        _references(),
        _disk(),
    ]


def _gpu() -> Finding:
    if torch.cuda.is_available():
        return Finding("gpu", torch.cuda.get_device_name())
    advice = "everything runs on the CPU; `--device cuda` and the tests of `nox -s gpu` need an NVIDIA GPU"
    return Finding("gpu", "none", advice)


def _ffcv() -> Finding:
    try:
        loaders.resolve_kind("ffcv")
    except UserError as error:
        return Finding("ffcv", "missing", str(error))
    return Finding("ffcv", "installed")


def _task(name: str) -> Finding:
    task = tasks.get_task(name)
    if sources.is_bundled(task):
        return Finding(f"task {name}", "bundled")
    folder = sources.find(task, None)
    of_images = getattr(task, "folder", None)
    if folder is None and of_images is not None:
        return Finding(f"task {name}", "not downloaded", of_images.advice)
    if folder is None:
        return Finding(f"task {name}", "not downloaded", f"`bench data get {name}` downloads it, as does a run")
    return Finding(f"task {name}", str(folder))


def _noise() -> Finding:
    reading = NoiseMeter().read()
    if reading.cpu_pressure is None:
        return Finding("noise", "CPU pressure cannot be read", "noisy timings cannot be detected")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return Finding("noise", f"CPU pressure can be read; load {load}")


def _energy() -> Finding:
    counter = ProcessorEnergy()
    return Finding("energy", "RAPL counter") if counter.note is None else Finding("energy", "none", counter.note)


def _references() -> Finding:
    suites = measured_suites()
    if not suites:
        advice = "`bench reference update SUITE --reason TEXT` creates them"
        return Finding("references", f"none in {reference_folder()}", advice)
    return Finding("references", ", ".join(suites))


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    advice = "a run needs about 1 GiB" if free < 1 else ""
    return Finding("disk", f"{free:,.0f} GiB free here", advice)
