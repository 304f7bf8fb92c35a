"""Layers that ASGE shares with the baselines and that are published systems of their own.

pooling              RMSPool, SoftPool, and pools by name
gating               GCT, squeeze-and-excitation, and where in a block they stand
fused_gating         GCT with its derivatives written out
scaled_convolution   a convolution whose input images each have a factor
"""
