"""Finds stored results that are of no cell of their suite: a suite and what is kept of it drift apart unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.options import RunOptions
from bench.records import Record
from bench.suites.expand import cells, expected
from bench.suites.file import Suite

Content = Mapping[str, Any]
"""What an experiment is a hash of, see ``bench.records.CellSpec.content``."""
ABSENT = "absent"


def of_reference(suite: Suite, stored: Mapping[str, Content]) -> list[str]:
    """How the experiments of a stored reference differ from those of its suite, a sentence each; empty if they agree.

    Args:
        suite: as it is now.
        stored: content by experiment of the reference's rows; an empty content if it is not known.
    """
    wanted = {cell.experiment: cell.content for cell, _ in expected(suite)}
    name = f"suite {suite.name}"
    surplus = [_sentence(name, "its reference", content, wanted.values(), key) for key, content in _but(stored, wanted)]
    named = {content.get("method") for _, content in _but(stored, wanted)}
    missing = [
        f"{name}: its reference has no {content['method']} on {content['task']} with these settings"
        for _, content in _but(wanted, stored)
        if content["method"] not in named
    ]
    return surplus + missing


def of_records(suite: Suite, found: Sequence[Record]) -> list[str]:
    """How records differ from all cells of the suite with the changes that they name, a sentence each.

    Raises:
        UserError: if the suite cannot be expanded.
    """
    sentences = []
    known: dict[str, dict[str, Content]] = {}
    for record in found:
        made_with = str(record.overrides)
        if made_with not in known:
            changes = {**record.overrides, "loader": "memory"}  # the loader is no part of an experiment
            options = RunOptions(suite.name, unequal_budgets=True, **changes)
            known[made_with] = {cell.experiment: cell.content for cell in cells(suite, options)}
        wanted = known[made_with]
        if record.cell.experiment not in wanted:
            sentences.append(
                _sentence(f"suite {suite.name}", record.id, record.cell.content, wanted.values(), record.id)
            )
    return sentences


def _but(these: Mapping[str, Content], others: Mapping[str, Content]) -> list[tuple[str, Content]]:
    return [(key, content) for key, content in these.items() if key not in others]


def _sentence(suite: str, owner: str, content: Content, wanted: Iterable[Content], key: str) -> str:
    """Names what differs from the most similar experiment of the suite."""
    if not content:
        return f"{suite}: {owner} has an experiment {key} that the suite has not"
    similar = [each for each in wanted if each["method"] == content["method"]]
    if not similar:
        return f"{suite}: {owner} has {content['method']}, which the suite has not"
    said = min((_differences(each, content) for each in similar), key=len)
    return f"{suite}: " + ", ".join(f"{name} is {there}, in {owner} {here}" for name, there, here in said)


def _differences(one: Content, other: Content) -> list[tuple[str, Any, Any]]:
    """The names whose values differ, with both values; settings are named METHOD.KEY."""
    flat = [_flat(each) for each in (one, other)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    pairs = [(name, flat[0].get(name, ABSENT), flat[1].get(name, ABSENT)) for name in names]
    return [(name, there, here) for name, there, here in pairs if there != here]


def _flat(content: Content) -> dict[str, Any]:
    settings = {f"{content['method']}.{key}": value for key, value in content["settings"].items()}
    return {**{key: value for key, value in content.items() if key != "settings"}, **settings}
