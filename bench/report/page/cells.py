"""The cells of a page, in full."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bench.records import Record
from bench.records.names import labels_of_cells, machine_of
from bench.report.page import charts
from bench.report.page.source import About


@dataclass(frozen=True)
class Setting:
    """A setting of a cell.

    Attributes:
        value: as JSON.
        default: the method's, as JSON; empty if it is not known.
        differs: whether cells of its method in this section have other values.
    """

    name: str
    value: str
    default: str
    differs: bool


@dataclass(frozen=True)
class CellPart:
    """A cell in full.

    Attributes:
        id: of the cell.
        anchor: its name in the page's address.
        title: in words.
        command: what makes it again.
        facts: pairs of a name and a value: environment, code.
        epochs: header and lines of what happened in each epoch.
        charts: curves by epoch and by layer.
        download: the record, compressed by gzip, as a data address.
    """

    id: str
    anchor: str
    title: str
    status: str
    error: str
    command: str
    facts: list[tuple[str, str]]
    settings: list[Setting]
    epochs: tuple[list[str], list[list[str]]]
    charts: list[Markup]
    download: str


def make(prefix: str, records: Sequence[Record], methods: Mapping[str, About]) -> list[CellPart]:
    """The cells of a section.

    Args:
        prefix: the section's name; with it, an id is one of the page.
        records: of one task, failed ones too.
        methods: what is known of them.
    """
    ordered = sorted(records, key=lambda record: record.id)
    names = labels_of_cells([record.cell for record in ordered])
    by_method: dict[str, list[dict[str, Any]]] = {}
    for record in ordered:
        by_method.setdefault(record.cell.method, []).append(settings_of(record))
    return [
        _cell(prefix, record, name, by_method[record.cell.method], methods.get(record.cell.method, About()))
        for record, name in zip(ordered, names, strict=True)
    ]


def anchor_of(prefix: str, cell: str) -> str:
    """The name of a cell in the page's address."""
    return f"{prefix}.{cell}"


def settings_of(record: Record) -> dict[str, Any]:
    """A cell's settings, in full where its record has them."""
    described = record.cell.described
    return dict(record.cell.settings if described is None else described.settings)


def _cell(prefix: str, record: Record, name: str, others: Sequence[dict[str, Any]], about: About) -> CellPart:
    here, code = record.environment, record.code
    augmented = ", ".join(record.cell.augmentation) or "no augmentation"
    return CellPart(
        id=record.id,
        anchor=anchor_of(prefix, record.id),
        title=f"{name}, seed {record.cell.seed}",
        status=record.status,
        error=record.error or "",
        command=_command(record),
        facts=[
            ("machine", machine_of(record)),
            ("libraries", f"Python {here.python}, PyTorch {here.torch}, FFCV {here.ffcv or '-'}"),
            ("code", f"commit {(code.commit or 'unknown')[:12]}{' with changes' if code.dirty else ''}"),
            ("made", record.created),
            ("data", f"{record.cell.loader} loader, batches of {record.cell.batch_size}, {augmented}"),
        ],
        settings=[
            Setting(
                name=key,
                value=json.dumps(value),
                default=json.dumps(about.defaults[key]) if key in about.defaults else "",
                differs=any(other.get(key) != value for other in others),
            )
            for key, value in sorted(settings_of(record).items())
        ],
        epochs=_epochs(record),
        charts=_charts(record),
        download=_address(record),
    )


def _address(record: Record) -> str:
    text = json.dumps(record.model_dump(mode="json", exclude_none=True), separators=(",", ":"), sort_keys=True)
    packed = gzip.compress(text.encode(), mtime=0)
    return "data:application/gzip;base64," + base64.b64encode(packed).decode()


def _epochs(record: Record) -> tuple[list[str], list[list[str]]]:
    strategies = [part.strategy for part in record.strategies]
    header = ["epoch", "seconds", *(f"{strategy} %" for strategy in strategies), "layers %"]
    lines = [
        [
            str(epoch.epoch),
            f"{epoch.seconds:.1f}",
            *(f"{epoch.validation[name]:.2f}" if name in epoch.validation else "-" for name in strategies),
            " ".join(f"{value:.1f}" for value in epoch.layers or ()) or "-",
        ]
        for epoch in record.epochs
    ]
    return header, lines


def _charts(record: Record) -> list[Markup]:
    by_strategy = {
        part.strategy: [epoch.validation[part.strategy] for epoch in record.epochs if part.strategy in epoch.validation]
        for part in record.strategies
    }
    by_loss: dict[str, list[float]] = {}
    for epoch in record.epochs:
        for name, value in epoch.losses.items():
            by_loss.setdefault(name, []).append(value)
    by_layer = {"last epoch": (record.epochs[-1].layers or []) if record.epochs else []}
    made = [
        charts.lines("validation accuracy (%) by epoch", "epoch: validation accuracy, %", by_strategy),
        charts.lines("loss by epoch", "epoch: loss", by_loss),
        charts.lines("validation accuracy (%) by layer", "layer: validation accuracy, %", by_layer),
    ]
    return [chart for chart in made if chart]


def _command(record: Record) -> str:
    """The command that makes a cell again; settings of a sweep are those of one variant of the suite."""
    cell = record.cell
    words = ["bench", "run", record.suite, "--methods", cell.method, "--tasks", cell.task]
    words += ["--first-seed", str(cell.seed), "--seeds", "1", "--loader", cell.loader, "--threads", str(cell.threads)]
    for name, value in sorted(record.overrides.items()):
        if name not in ("settings", "methods", "tasks", "seeds", "first_seed", "loader", "threads"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in sorted(cell.settings.items()):
        words += ["--set", f"{cell.method}.{name}={json.dumps(value)}"]
    return shlex.join(words)
