"""Layers that are published on their own, shared by ASGE and the baselines.

pooling              RMSPool, SoftPool, and pools by name
gating               GCT and squeeze-and-excitation, and their places in a network
fused_gating         GCT with a hand-written backward pass
scaled_convolution   a convolution of channels scaled by image
"""
