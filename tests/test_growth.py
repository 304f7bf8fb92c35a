"""A setting or field that computes what was computed before makes no other run; another default does, and is named."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from asge.common.types import Neutral
from asge.learner import ASGE
from asge.settings import ASGESettings
from baselines.backprop import Backprop, BackpropSettings
from bench import suites
from bench.records import CellSpec
from bench.reference import measured
from bench.suites import drift

SUITES = ("smoke", "ci", "quick")


def ids():
    return {name: [cell.id for cell, _ in suites.expected(suites.load(name))] for name in SUITES}


def drifted():
    said = []
    for name in SUITES:
        said += drift.of_reference(suites.load(name), measured.load(name).contents)
    return said


@dataclass(frozen=True, kw_only=True)
class GrownASGE(ASGESettings):
    novelty: Annotated[float, Neutral(0.0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class GrownBackprop(BackpropSettings):
    novelties: Annotated[tuple[int, ...], Neutral(())] = ()


class GrownCell(CellSpec):
    novelty: str | None = None


def test_a_neutral_setting_of_a_method_and_of_the_yardstick_changes_no_id(monkeypatch):
    before = ids()
    monkeypatch.setattr(ASGE, "Settings", GrownASGE)
    monkeypatch.setattr(Backprop, "Settings", GrownBackprop)
    assert ids() == before
    assert drifted() == []


def test_a_field_of_the_cell_changes_no_id_until_it_is_used():
    [cell, *_] = suites.cells(suites.load("ci"), suites.Overrides(threads=1))
    grown = GrownCell(**cell.model_dump())
    assert (grown.id, grown.experiment) == (cell.id, cell.experiment)
    used = grown.model_copy(update={"novelty": "yes"})
    assert used.id != cell.id
    assert used.experiment != cell.experiment


@dataclass(frozen=True, kw_only=True)
class OtherAlpha(ASGESettings):
    alpha: float = 0.5


@dataclass(frozen=True, kw_only=True)
class NoLongerNeutral(ASGESettings):
    novelty: Annotated[float, Neutral(0.0)] = 1.0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (OtherAlpha, "suite smoke: asge.alpha is 0.5, in its reference 1.0"),
        (NoLongerNeutral, "suite smoke: asge.novelty is 1.0, in its reference absent"),
    ],
)
def test_another_default_is_named_with_its_suite(monkeypatch, changed, sentence):
    monkeypatch.setattr(ASGE, "Settings", changed)
    assert sentence in drifted()
