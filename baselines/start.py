"""Beginning with the weights of a network that has learned before gates were put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn


def weights_of(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in the ``state_dict`` of a learner that trains one network end to end.

    Raises:
        ValueError: if it is of another learner.
    """
    weights = state.get("network")
    if not weights:
        raise ValueError("it is the state of a learner without a 'network'")
    return cast("Mapping[str, Tensor]", weights)


def take_over(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    is_new: Callable[[str], bool],
    old_name: Callable[[str], str] = lambda name: name,
) -> None:
    """Load another network's weights into one that has more.

    Args:
        network: the one with more.
        weights: the other's ``state_dict``.
        is_new: whether the other network may lack what has this name here; it then stays as it was drawn.
        old_name: the other network's name of what has this name here.

    Raises:
        ValueError: if anything else is in one of them only, or is of another shape.
    """
    own = network.state_dict()
    names = {name: old_name(name) for name in own}
    taken = {name: old for name, old in names.items() if old in weights and own[name].shape == weights[old].shape}
    missing = [name for name in own if name not in taken and not is_new(name)]
    foreign = sorted(set(weights) - set(taken.values()))
    for name in (*missing, *foreign):
        raise ValueError(f"it is another network: {name} is not the same in both")
    network.load_state_dict({name: weights[old] for name, old in taken.items()}, strict=False)
