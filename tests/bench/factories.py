"""Handmade records for tests of their readers."""

from bench.records import (
    CellSpec,
    Code,
    Environment,
    EpochRecord,
    Noise,
    Record,
    Relative,
    StrategyRecord,
    TrainingRecord,
    WorkRecord,
    Yardstick,
)
from bench.reference.measured import Cost, Golden, Machine, Measured, Repeat, StoredRow, Value
from bench.reference.verdicts import Check
from bench.suites import describe

QUIET = Noise(cpu_pressure=0.0, steal=0.0, noisy=False)
YARDSTICK = Yardstick(method="backprop", settings={})


def cell(method="asge", seed=0, **changes):
    values = {
        "method": method,
        "settings": {},
        "task": "fashion-mnist",
        "seed": seed,
        "epochs": 2,
        "batch_size": 64,
        "augmentation": (),
        "train_samples": None,
        "loader": "memory",
        "device": "cpu",
        "threads": 2,
        "yardstick": YARDSTICK,
    }
    return describe.described(CellSpec(**values | changes))


def relative(ratio, *, same=1.0, noisy=False):
    return Relative(yardstick="backprop", ratio=ratio, ratio_iqr=0.0, same=same, same_iqr=0.0, rounds=9, noisy=noisy)


def record(
    method="asge",
    seed=0,
    accuracies=None,
    status="ok",
    created="2026-01-01T00:00:00+00:00",
    relative=None,
    weights=((8, 1, 3, 3), (10, 8)),
    inputs=None,
    work=None,
    values=None,
    cpu="c",
    isa="AVX2",
    **changes,
):
    spec = cell(method, seed, **changes)
    accuracies = {"last": 90.0} if accuracies is None else accuracies
    epochs = [
        EpochRecord(
            epoch=number,
            seconds=2.0,
            images=100,
            losses={"loss": 1.0 / number},
            validation={name: value - 10 / number for name, value in accuracies.items()},
            layers=[50.0, 80.0 + number],
            noise=QUIET,
        )
        for number in (1, 2)
    ]
    training = TrainingRecord(
        seconds=2.0 * spec.epochs,
        first_batch_seconds=0.1,
        images_per_second=50.0,
        images_per_second_minimum=50.0,
        images_per_second_iqr=0.0,
        images_per_second_compute=60.0,
        peak_rss_bytes=2**20,
        peak_reserved_bytes=None,
        peak_live_bytes=2**19,
        live_parameter_bytes=1,
        live_gradient_bytes=1,
        live_optimiser_bytes=2,
        parameter_bytes=4000,
        state_bytes=12000,
        parameters=1000,
        flops_per_image=1e6,
        energy_joules=None,
        energy_note="no energy counter on this machine",
        noisy=False,
        relative=relative,
    )
    strategies = [
        StrategyRecord(
            strategy=name,
            accuracy=value,
            best_validation_epoch=2,
            accuracy_at_best_validation=value,
            samples=10000,
            images_per_second=500.0,
            peak_live_bytes=1000,
            parameters=1000,
            parameter_bytes=4000,
            flops_per_image=1e5,
            weights=weights,
        )
        for name, value in accuracies.items()
    ]
    ok = status == "ok"
    return Record(
        id=spec.id,
        cell=spec,
        suite="test",
        status=status,
        error=None if ok else "it broke",
        created=created,
        code=Code(version="0", commit="abc", dirty=False, fingerprint="f", computation="c"),
        environment=Environment(
            python="3",
            torch="2",
            numpy="2",
            ffcv=None,
            platform="p",
            cpu=cpu,
            gpu=None,
            cores=2,
            threads=2,
            isa=isa,
            deterministic_algorithms=False,
        ),
        epochs=epochs if ok else [],
        opening_losses={"loss": [2.0, 1.5, 1.2]} if ok else {},
        inputs=(inputs or {"train": "a", "test": "b"}) if ok else {},
        layer_values=(values or {"gamma": [[-0.1, 0.0, 0.2], [0.1, 0.3]]}) if ok else {},
        work=work,
        training=training if ok else None,
        strategies=strategies if ok else [],
    )


def work(macs, shares=(1.0, 0.5)):
    """Work of two classes, the second of which takes twice as much as the first, unless everything runs."""
    spread = 0 if min(shares) == 1 else 1 / 3
    return WorkRecord(
        macs=macs,
        macs_deviation=macs * spread,
        macs_quantiles=[macs * (1 + spread * distance / 3) for distance in range(-3, 4)],
        macs_by_class=[macs * (1 - spread), macs * (1 + spread)],
        macs_of_right=macs,
        macs_of_wrong=None,
        layers=list(shares),
        layers_by_class=[list(shares)] * 2,
    )


def machine(cpu="c", torch="2"):
    return Machine.of(record().environment).model_copy(update={"cpu": cpu, "torch": torch})


def golden(*, seed=0, cpu="c", **changes):
    values = {
        "inputs": {"train": "a", "test": "b"},
        "losses": {"loss": [2.0, 1.5, 1.2]},
        "accuracies": {},
    }
    spec = cell()
    return Golden(
        task=spec.task,
        method=spec.method,
        experiment=spec.experiment,
        seed=seed,
        machine=machine(cpu),
        **values | changes,
    )


def repeat(seed, accuracy, cpu="another"):
    """A stored seed of asge/last, run again."""
    spec = cell()
    return Repeat(
        task=spec.task,
        method=spec.method,
        experiment=spec.experiment,
        seed=seed,
        machine=machine(cpu),
        accuracies={"last": accuracy},
    )


def measured(values, *, samples=10000, goldens=None, live=2**19, torch="2", speeds=(), cpu="c", first=100):
    """References of one row, asge/last, with values of seeds from ``first`` on."""
    template = record()
    spec = template.cell
    row = StoredRow(
        task=spec.task,
        method=spec.method,
        strategy="last",
        experiment=spec.experiment,
        samples=samples,
        values=[Value(seed=first + index, accuracy=value, commit=None) for index, value in enumerate(values)],
    )
    cost = Cost(
        task=spec.task,
        method=spec.method,
        experiment=spec.experiment,
        machine=machine(cpu, torch),
        live_bytes=live,
        predict_live_bytes={"last": 1000},
        yardstick=YARDSTICK,
        speeds=list(speeds),
    )
    return Measured(
        suite="test",
        environment=template.environment,
        code=template.code,
        history=[],
        rows=[row],
        goldens=[golden()] if goldens is None else goldens,
        costs=[cost],
    )


def verdict(what, strategy, name):
    """A check of a row; the verdict is called ``name``."""
    return Check(
        task="fashion-mnist", method="asge", what=what, strategy=strategy, experiment="e", verdict=name, note="why",
        value=90.0, seeds=3, reference=91.0, reference_seeds=20, limit=90.5, detects=0.456,
    )  # fmt: skip


def gated(task):
    """Two seeds of two gated networks and one without gates."""
    for seed in (0, 1):
        for l0, macs in ((0.5, 20e6), (1.0, 10e6)):
            yield record(
                "bas",
                seed,
                {"logits": 88.0 + seed + l0},
                task=task,
                settings={"gating": "channels", "l0_weight": l0},
                work=work(macs),
                values={"open": [[1.0, 0.5], [0.0, 0.2]]},
            )
        yield record("bas", seed, {"logits": 91.0}, task=task, settings={"gating": "none"}, work=work(40e6, (1.0, 1.0)))
