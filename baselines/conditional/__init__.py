"""Networks that compute only what an image needs.

gates           a gate per block (Gumbel, two-way), a gate per channel (binary concrete)
batch_shaping   the loss that makes gates conditional, and the losses that make them rare
"""
