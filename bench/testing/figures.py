"""Checks of every figure, and made-up records to draw."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from bench.errors import unknown
from bench.records import (
    CellSpec,
    Code,
    Environment,
    EpochRecord,
    Noise,
    Record,
    StrategyRecord,
    TrainingRecord,
    WorkRecord,
    Yardstick,
)
from bench.report import figures
from bench.report.figures import Draw, Runs
from bench.testing.outcome import Check, NotOffered, require

EPOCHS = 2


@dataclass(frozen=True)
class RegisteredFigure:
    """A figure of this project or of another package."""

    name: str
    variant = ""

    @classmethod
    def named(cls, name: str) -> RegisteredFigure:
        """The figure of that name; a UserError names the valid ones."""
        if name not in (names := figures.names()):
            raise unknown("figure", name, names)
        return cls(name)

    @property
    def draw(self) -> Draw:
        """The function that draws it."""
        return figures.get(self.name)

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[None]:
        """No figure is shown or stays open."""
        before = plt.get_fignums()
        with plt.rc_context({"backend": "Agg"}):
            try:
                yield
            finally:
                for number in set(plt.get_fignums()) - set(before):
                    plt.close(number)


def made_up_runs() -> Runs:
    """Records of two methods, two seeds each, after two epochs on the digits, with their names in a legend."""
    return [(method, _record(method, seed)) for method in ("first", "second") for seed in (0, 1)]


def made_up_colors() -> dict[str, Any]:
    """A color for each name of ``made_up_runs``."""
    return dict(zip(("first", "second"), sns.color_palette("colorblind", 2), strict=True))


def _record(method: str, seed: int) -> Record:
    quiet = Noise(cpu_pressure=0.0, steal=0.0, noisy=False)
    shape: dict[str, Any] = {"settings": {}, "task": "digits", "epochs": EPOCHS, "batch_size": 64, "augmentation": ()}
    where: dict[str, Any] = {"train_samples": None, "loader": "memory", "device": "cpu", "threads": 1}
    cell = CellSpec(method=method, seed=seed, yardstick=Yardstick(method="second", settings={}), **shape, **where)
    accuracy = (90.0 if method == "first" else 80.0) + seed
    epochs = [
        EpochRecord(
            epoch=number, seconds=2.0, images=1000, losses={"loss": 1.0 / number},
            validation={"logits": accuracy - 10 / number}, layers=[50.0, 70.0 + number], layer_goodness=[1.0, 2.0],
            layer_seconds=[0.01, 0.02], layer_live_bytes=[2**16, 2**17], layer_means={"gate": [0.5, 0.4]}, noise=quiet,
        )
        for number in range(1, EPOCHS + 1)
    ]  # fmt: skip
    work = WorkRecord(
        macs=1e5, macs_deviation=1e4, macs_quantiles=[1e5 + 1e4 * step for step in range(-3, 4)],
        macs_by_class=[9e4 + 2e3 * label for label in range(10)], macs_of_right=1e5, macs_of_wrong=1.1e5,
        layers=[1.0, 0.5], layers_by_class=[[1.0, 0.05 * (label + 1)] for label in range(10)],
    )  # fmt: skip
    training = TrainingRecord(
        seconds=2.0 * EPOCHS, first_batch_seconds=0.1, images_per_second=500.0, images_per_second_minimum=490.0,
        images_per_second_iqr=10.0, images_per_second_compute=600.0, peak_rss_bytes=2**22, peak_reserved_bytes=None,
        peak_live_bytes=2**20, live_parameter_bytes=2**12, live_gradient_bytes=2**12, live_optimiser_bytes=2**13,
        parameter_bytes=2**12, state_bytes=2**14, parameters=2**10, flops_per_image=3e5, energy_joules=None,
        energy_note="made up", noisy=False,
    )  # fmt: skip
    strategy = StrategyRecord(
        strategy="logits", accuracy=accuracy, best_validation_epoch=EPOCHS, accuracy_at_best_validation=accuracy,
        samples=500, images_per_second=2000.0, peak_live_bytes=2**16, parameters=2**10, parameter_bytes=2**12,
        flops_per_image=1e5, weights=((8, 1, 3, 3), (10, 95)),
    )  # fmt: skip
    return Record(
        id=cell.id, cell=cell, suite="made-up", status="ok", error=None, created="2026-01-01T00:00:00+00:00",
        code=Code(version="0", commit=None, dirty=None, fingerprint="made-up"),
        environment=Environment(
            python="3", torch="2", numpy="2", ffcv=None, platform="none", cpu="none", gpu=None, cores=1, threads=1,
            isa="none", deterministic_algorithms=False,
        ),
        epochs=epochs, opening_losses={"loss": [2.0, 1.5]}, inputs={"train": "a", "test": "b"},
        layer_values={"gamma": [[0.0, 0.1, 0.2], [0.1, 0.3]], "open": [[1.0] * 8, [0.5] * 8]},
        work=work if method == "first" else None, training=training, strategies=[strategy],
    )  # fmt: skip


def it_takes_records_and_colors(subject: RegisteredFigure) -> None:
    """A figure is a function of records with their names, and of a color for each name."""
    draw = subject.draw
    require(callable(draw), "a function (runs, colors)", type(draw).__name__)
    try:
        inspect.signature(draw).bind((), {})
    except TypeError as error:
        require(False, "a function (runs, colors)", f"{inspect.signature(draw)}: {error}")


def it_draws_a_figure_or_gives_none(subject: RegisteredFigure) -> None:
    """Made-up records give a Matplotlib figure that can be saved, without a warning; None where nothing is in them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = subject.draw(made_up_runs(), made_up_colors())
        if figure is None:
            raise NotOffered("the made-up records hold nothing for it")
        require(isinstance(figure, Figure), "a matplotlib.figure.Figure, or None", type(figure).__name__)
        figure.savefig(io.BytesIO(), format="png")
    require(figure.get_axes(), "a figure with axes", "none")


def it_does_without_what_records_may_lack(subject: RegisteredFigure) -> None:
    """Records whose optional parts are empty, and of one method alone, give a figure or None, but no error."""
    bare = [
        (
            name,
            record.model_copy(update={"layer_values": {}, "work": None, "epochs": [_bare(e) for e in record.epochs]}),
        )
        for name, record in made_up_runs()
        if name == "first"
    ]
    figure = subject.draw(bare, made_up_colors())
    found = type(figure).__name__
    require(figure is None or isinstance(figure, Figure), "a matplotlib.figure.Figure, or None", found)


def _bare(epoch: EpochRecord) -> EpochRecord:
    lacking = ("layers", "layer_goodness", "layer_seconds", "layer_live_bytes")
    return epoch.model_copy(update={**dict.fromkeys(lacking), "layer_means": {}})


CHECKS: tuple[Check[RegisteredFigure], ...] = (
    Check(it_takes_records_and_colors, first=True),
    Check(it_draws_a_figure_or_gives_none),
    Check(it_does_without_what_records_may_lack),
)
