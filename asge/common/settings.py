"""The dataclass of a method's settings: types are checked, and a name that it does not have is refused."""

from __future__ import annotations

import dataclasses
import difflib
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic.dataclasses import dataclass

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings_class(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with keywords only, whose values pydantic checks.

    Making an object of it raises a TypeError for a name that is no setting; it suggests the closest one that is.
    """
    made: Any = dataclass(frozen=True, kw_only=True)(cls)
    checked = made.__init__
    names = [field.name for field in dataclasses.fields(made)]

    @wraps(checked)
    def init(self: Any, **values: Any) -> None:
        for name in values:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f": did you mean {close[0]!r}?" if close else f" (it has {', '.join(names)})"
                raise TypeError(f"{cls.__name__} has no setting {name!r}{hint}")
        checked(self, **values)

    made.__init__ = init
    return made  # type: ignore[no-any-return]
