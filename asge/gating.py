"""The gates of ``asge.layers.gating`` under the short path that the documentation promises."""

from asge.layers.gating import (
    Gate,
    Gated,
    GatedChannelTransform,
    Gating,
    Mode,
    Where,
    add_gates,
    add_gct,
    gammas,
    groups_without_decay,
    make_gate,
    parameter_groups,
)

__all__ = [
    "Gate",
    "Gated",
    "GatedChannelTransform",
    "Gating",
    "Mode",
    "Where",
    "add_gates",
    "add_gct",
    "gammas",
    "groups_without_decay",
    "make_gate",
    "parameter_groups",
]
