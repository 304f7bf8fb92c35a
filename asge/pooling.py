"""The pools of ``asge.layers.pooling`` under the short path that the documentation promises."""

from asge.layers import pooling
from asge.layers.pooling import *  # noqa: F403

__all__ = pooling.__all__
