"""Networks that compute only what an image needs.

gates           a gate per block (Gumbel, two-way), a gate per channel (binary concrete)
resnet          ResNets with either kind of gate; what is closed is not computed, and work is counted by image
batch_shaping   the loss that makes gates conditional, and the losses that make them rare
"""
