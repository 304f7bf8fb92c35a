"""Starting from the weights of a network that was trained before gates were inserted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn


def weights_of(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in the ``state_dict`` of a learner that trains one network end to end.

    Raises:
        ValueError: if it is another kind of learner's.
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
    """Load another network's weights into one that has more parameters.

    Args:
        network: the larger one, changed in place.
        weights: the other's ``state_dict``.
        is_new: whether a parameter, by its name here, may be missing from ``weights``; it then keeps its initial
            values.
        old_name: maps a name here to the name in ``weights``.

    Raises:
        ValueError: if any other parameter is in only one of them, or differs in shape.
    """
    own = network.state_dict()
    names = {name: old_name(name) for name in own}
    taken = {name: old for name, old in names.items() if old in weights and own[name].shape == weights[old].shape}
    missing = [name for name in own if name not in taken and not is_new(name)]
    foreign = sorted(set(weights) - set(taken.values()))
    for name in (*missing, *foreign):
        raise ValueError(f"it is another network: {name} is not the same in both")
    network.load_state_dict({name: weights[old] for name, old in taken.items()}, strict=False)
