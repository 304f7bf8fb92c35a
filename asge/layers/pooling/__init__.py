"""Pools: RMSPool, which preserves activation energy, SoftPool, and PyTorch's own behind the same interface.

    rms     rms_pool1d, rms_pool2d, rms_pool3d
    soft    soft_pool1d, soft_pool2d, soft_pool3d
    named   pool, any of them by name
    modules their nn.Module forms
    replace replace_pools, in existing networks

Arguments and shapes are those of PyTorch's pools: inputs (B, C, L), (B, C, H, W) or (B, C, T, H, W). Padding counts in
no window, nor does the part of a window beyond the map in ceil mode.
"""

from asge.layers.pooling.modules import RMSPool1d, RMSPool2d, RMSPool3d, SoftPool1d, SoftPool2d, SoftPool3d
from asge.layers.pooling.named import POOLINGS, Pooling, pool, pool2d
from asge.layers.pooling.replace import replace_pools
from asge.layers.pooling.rms import rms_pool1d, rms_pool2d, rms_pool3d, root, root_
from asge.layers.pooling.soft import Gradient, soft_pool1d, soft_pool2d, soft_pool3d

__all__ = [
    "POOLINGS",
    "Gradient",
    "Pooling",
    "RMSPool1d",
    "RMSPool2d",
    "RMSPool3d",
    "SoftPool1d",
    "SoftPool2d",
    "SoftPool3d",
    "pool",
    "pool2d",
    "replace_pools",
    "rms_pool1d",
    "rms_pool2d",
    "rms_pool3d",
    "root",
    "root_",
    "soft_pool1d",
    "soft_pool2d",
    "soft_pool3d",
]
