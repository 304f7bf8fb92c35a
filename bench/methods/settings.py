"""Reads and checks a method's settings, and brings them into canonical form."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from asge.common.types import Neutral
from bench import methods
from bench.errors import UserError, unknown


def key_and_value(option: str, text: str, form: str) -> tuple[str, str]:
    """``"key=value"`` as ("key", "value").

    Args:
        option: where the text was written, for the error.
        text: as written.
        form: describes the valid form, for the error.

    Raises:
        UserError: if there is no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not (equals and key.strip()):
        raise UserError(f"{option} {text!r} is not of the form {form}")
    return key.strip(), value.strip()


def owned_key_and_value(option: str, text: str, form: str) -> tuple[str, str, str]:
    """``"method.key=value"`` as ("method", "key", "value"); see ``key_and_value``."""
    path, value = key_and_value(option, text, form)
    owner, _, key = path.partition(".")
    if not (owner and key):
        raise UserError(f"{option} {text!r} is not of the form {form}")
    return owner, key, value


def parse_override(text: str) -> tuple[str, str, Any]:
    """Parse ``"asge.alpha=0.5"`` into ("asge", "alpha", 0.5). The value is parsed as JSON, else kept as a string.

    Raises:
        UserError: if the text is not of the form METHOD.KEY=VALUE.
    """
    method, key, value = owned_key_and_value("--set", text, "METHOD.KEY=VALUE, such as asge.alpha=0.5")
    return method, key, _read(value)


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Values by name from several ``KEY=VALUE``, read as JSON where they can be; a UserError for another form."""
    pairs = [key_and_value("--set", text, "KEY=VALUE, such as epochs=5") for text in texts]
    return {key: _read(value) for key, value in pairs}


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # not JSON, a number of thousands of digits, or lists in lists without end
        return value


def parse_overrides(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse several ``METHOD.KEY=VALUE`` into settings by method; a UserError for an unknown method or key."""
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        method, key, value = parse_override(text)
        check_key(method, key)
        overrides.setdefault(method, {})[key] = value
    return overrides


def parse_conditions(text: str) -> tuple[str, dict[str, Any]]:
    """Parse ``"cwc blocks=plain"`` into ("cwc", {"blocks": "plain"}), values in canonical form.

    Raises:
        UserError: for an unknown setting or an invalid value.
    """
    method, *conditions = re.split(r"\s+(?=\w+=)", text.strip())
    given = {}
    for condition in conditions:
        _, key, value = parse_override(f"{method}.{condition}")
        given[key] = {"True": True, "False": False, "None": None}.get(str(value), value)
    whole = complete(method, given)
    return method, {key: whole[key] for key in given}


def keys(method: str) -> list[str]:
    """The names of a method's settings, in their order."""
    return names_of(methods.get(method).Settings)


def names_of(cls: type) -> list[str]:
    """The names of the settings of a class, in their order.

    Raises:
        UserError: if it is neither a dataclass nor a pydantic model.
    """
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        return list(cls.model_fields)
    shown = f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else repr(cls)
    raise UserError(f"settings have to be a dataclass or a pydantic model, and {shown} is neither")


def check_key(method: str, key: str) -> None:
    """Raise a UserError with the closest valid key unless ``key`` is a setting of ``method``."""
    valid = keys(method)
    if key not in valid:
        raise unknown(f"setting of {method}", key, valid)


def make(method: str, values: Mapping[str, Any]) -> Any:
    """The settings object of a run, from its canonical settings: what they leave out has its neutral value.

    That may be another one than the default of today. Settings that a user gave become canonical first.

    Raises:
        UserError: if a value is not valid.
    """
    return validated(methods.get(method).Settings, method, {**_neutral(method), **values})


def validated(cls: type, owner: str, values: Mapping[str, Any]) -> Any:
    """Make an object of a settings class: a dataclass or a pydantic model.

    Args:
        cls: the class.
        owner: name of the method or study, for messages.
        values: by name.

    Raises:
        UserError: for an unknown key or a value of the wrong type or out of range.
    """
    valid = names_of(cls)
    for key, value in values.items():
        if key not in valid:
            raise unknown(f"setting of {owner}", key, valid)
        if not _finite(value):
            raise UserError(f"{owner}.{key} = {value!r} is not valid: numbers must be finite")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(_sentence(owner, error)) from None


def complete(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a method, defaults included, as JSON types."""
    cls = methods.get(method).Settings
    dumped: dict[str, Any] = TypeAdapter(cls).dump_python(validated(cls, method, values), mode="json")
    return dumped


def canonical(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that identify a run: all except those at their neutral value.

    Equal runs thus have equal settings, including runs from before such a setting existed.
    """
    neutral = _neutral(method)
    whole = complete(method, values)
    return {key: value for key, value in whole.items() if key not in neutral or value != neutral[key]}


def filled(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical settings plus the omitted neutral values; unchanged for an unknown method."""
    try:
        return {**_neutral(method), **values}
    except UserError:  # the method is not installed
        return dict(values)


def _neutral(method: str) -> dict[str, Any]:
    """The values of a method's settings that are marked with ``asge.common.types.Neutral``, as JSON types."""
    hints = get_type_hints(methods.get(method).Settings, include_extras=True)
    marks = {key: mark for key in keys(method) for mark in getattr(hints[key], "__metadata__", ()) if _marks(mark)}
    found = {key: mark.value for key, mark in marks.items() if isinstance(mark, Neutral)}
    if len(found) < len(marks):  # a bare mark
        whole = complete(method, {})
        found = {key: found.get(key, whole[key]) for key in marks}
    return {key: TypeAdapter(hints[key]).dump_python(value, mode="json") for key, value in found.items()}


def _marks(mark: Any) -> bool:
    return mark is Neutral or isinstance(mark, Neutral)


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _sentence(method: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = ".".join([method, *(str(part) for part in first["loc"])])
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"{path} = {first['input']!r} is not valid: {reason}"
