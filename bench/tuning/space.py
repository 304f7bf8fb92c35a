"""Search spaces: from the annotations of a method's settings, narrowed by a file or the command line."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import optuna

from asge.common.marks import Choice, Range
from bench import methods
from bench.errors import UserError
from bench.methods import settings

Dimension = Range | Choice
Space = dict[str, Dimension]
"""Dimensions by setting, in the order in which values are drawn: settings named in a ``when`` come first."""


def of_method(method: str) -> Space:
    """The search space in the annotations of a method's settings."""
    cls = methods.get(method).Settings
    hints = get_type_hints(cls, include_extras=True)
    found: Space = {}
    for key in settings.names_of(cls):
        for mark in getattr(hints[key], "__metadata__", ()):
            if isinstance(mark, Range | Choice):
                found[key] = mark
    return ordered(found)


def narrowed(method: str, texts: Sequence[str], file: Path | None = None) -> Space:
    """A method's space with dimensions replaced, added or fixed.

    Args:
        method: its key.
        texts: such as ``asge.learning_rate=1e-4..1e-2:log``, ``asge.alpha=0|0.5|1``, ``asge.affine=true`` (fixed).
        file: TOML with a table per method, the same as strings: ``learning_rate = "1e-4..1e-2:log"``.

    Raises:
        UserError: for an unknown method, setting or form, an empty range, or values that the setting rejects.
    """
    space = dict(of_method(method))
    for key, text in [*_from_file(method, file), *(_split_assignment(method, text) for text in texts)]:
        settings.check_key(method, key)
        default = settings.complete(method, {})[key]
        whole = isinstance(default, int) and not isinstance(default, bool)
        dimension = parse(f"{method}.{key}", text, whole=whole)
        for value in _ends(dimension):
            settings.make(method, {key: value})
        space[key] = dimension
    return ordered(space)


def parse(name: str, text: str, *, whole: bool = False) -> Dimension:
    """Parse a dimension: ``LOW..HIGH``, ``LOW..HIGH:log``, ``LOW..HIGH:STEP``, ``A|B|C`` or a single value.

    Args:
        name: of the setting, for the message.
        text: of that form.
        whole: whether a range has only whole numbers.

    Raises:
        UserError: for another form or an empty range.
    """
    try:
        if ".." in text:
            return _range(text, whole=whole)
        return Choice(tuple(_value(part) for part in text.split("|")))
    except ValueError as error:
        raise UserError(f"--space {name}={text!r} is not valid: {error}") from None


def within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that lie in the space, as Optuna represents them."""
    found: dict[str, Any] = {}
    for key, dimension in space.items():
        value = values[key]
        if isinstance(dimension, Choice):
            inside = value in dimension.values
            value = value if _plain(dimension) else json.dumps(value)
        else:
            inside = value is not None and dimension.low <= value <= dimension.high
            if inside and dimension.step is not None:
                steps = (value - dimension.low) / dimension.step
                inside = math.isclose(steps, round(steps), abs_tol=1e-9)
        if inside:
            found[key] = value
    return found


def suggest(trial: optuna.trial.BaseTrial, space: Space) -> dict[str, Any]:
    """Draw settings for a trial: one value per dimension that has an effect given those drawn before it."""
    drawn: dict[str, Any] = {}
    for key, dimension in space.items():
        if not all(drawn.get(other) in values for other, values in dimension.when.items() if other in space):
            continue
        if isinstance(dimension, Choice):
            # Optuna's choices must have plain types: others are drawn by their JSON text.
            plain = _plain(dimension)
            options = dimension.values if plain else tuple(json.dumps(value) for value in dimension.values)
            value = trial.suggest_categorical(key, options)
            drawn[key] = value if plain else json.loads(str(value))
        elif dimension.whole:
            step = 1 if dimension.step is None else int(dimension.step)
            drawn[key] = trial.suggest_int(key, int(dimension.low), int(dimension.high), step=step, log=dimension.log)
        else:
            drawn[key] = trial.suggest_float(key, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
    return drawn


def described(dimension: Dimension) -> tuple[str, str]:
    """A dimension in the form that ``parse`` reads, and a description of when it has an effect."""
    when = " and ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in dimension.when.items())
    if isinstance(dimension, Choice):
        return "|".join(_text(value) for value in dimension.values), when
    suffix = ":log" if dimension.log else "" if dimension.step is None else f":{dimension.step:g}"
    return f"{dimension.low:g}..{dimension.high:g}{suffix}", when


def grid(space: Space, points: int = 3) -> dict[str, list[Any]]:
    """Values for a grid: all of a choice or of steps, else ``points`` evenly spaced ones of a range."""
    return {key: _points(dimension, points) for key, dimension in space.items()}


def ordered(space: Space) -> Space:
    """The space with every dimension after those that its ``when`` names."""
    done: Space = {}
    waiting = dict(space)
    while waiting:
        ready = [key for key, dimension in waiting.items() if not any(other in waiting for other in dimension.when)]
        for key in ready or list(waiting):  # a cycle: in the given order
            done[key] = waiting.pop(key)
    return done


def _plain(choice: Choice) -> bool:
    return all(isinstance(value, str | int | float | bool | None) for value in choice.values)


def _range(text: str, *, whole: bool) -> Range:
    numbers, _, suffix = text.partition(":")
    low, _, high = numbers.partition("..")
    if suffix == "log":
        return Range(float(low), float(high), log=True, whole=whole)
    return Range(float(low), float(high), step=float(suffix) if suffix else None, whole=whole)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)  # str: of TOML's dates


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    if isinstance(dimension, Choice):
        return dimension.values
    return (int(dimension.low), int(dimension.high)) if dimension.whole else (dimension.low, dimension.high)


def _points(dimension: Dimension, points: int) -> list[Any]:
    if isinstance(dimension, Choice):
        return list(dimension.values)
    low, high = dimension.low, dimension.high
    if dimension.step is not None:
        count = int((high - low) / dimension.step + 1e-9) + 1
        values = [low + index * dimension.step for index in range(count)]
    elif dimension.log:
        values = [low * (high / low) ** (index / (points - 1)) for index in range(points)]
    else:
        values = [low + (high - low) * index / (points - 1) for index in range(points)]
    return sorted({int(value) for value in values}) if dimension.whole else values


def _split_assignment(method: str, text: str) -> tuple[str, str]:
    form = "METHOD.KEY=LOW..HIGH, METHOD.KEY=A|B or METHOD.KEY=VALUE"
    owner, key, value = settings.owned_key_and_value("--space", text, form)
    if not value:
        raise UserError(f"--space {text!r} is not of the form {form}")
    if owner != method:
        raise UserError(f"--space {text!r} names method {owner!r}, but {method!r} is tuned")
    return key, value


def _from_file(method: str, file: Path | None) -> list[tuple[str, str]]:
    if file is None:
        return []
    try:
        content: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"space file {str(file)!r} does not exist") from None
    except ValueError as error:
        raise UserError(f"space file {file} is not valid TOML: {error}") from error
    except RecursionError:
        raise UserError(f"space file {file} has lists or tables nested too deeply") from None
    table = content.get(method, {})
    if not isinstance(table, dict):
        raise UserError(f"space file {file}: {method} must be a table")
    return [(key, _text(value)) for key, value in table.items()]
