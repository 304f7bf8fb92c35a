"""Conditional computation: networks that compute only what each image needs.

gates           a gate per block (Gumbel, two-way), a gate per channel (binary concrete)
resnet          ResNets with either kind of gate; closed parts are skipped, and work is counted per image
batch_shaping   the loss that makes gates conditional, and the losses that make them rare
"""
