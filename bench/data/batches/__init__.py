"""Batches: a plan is drawn from (seed, epoch) on the CPU, then images are read, augmented and sent to the device.

plan                    order and random numbers of every batch of an epoch
augment, colour, framing  augmentation of whole batches; changes of colour; crops of images of any size
scaling                 from pixel values to a network's inputs
memory, torch_loader    the loader of arrays in memory; PyTorch's DataLoader, for comparison
transfer                to the device, normalised
digest, heartbeat, threads  the digest of a batch; a heartbeat of readers; threads of loaders
"""
