"""ASGE: Adaptive Spatial Goodness Encoding (Gong, Staszewski, Xu; arXiv 2509.12394).

A Forward-Forward method for convolutional networks. Every block is trained by its own loss on its own activations,
during the one forward pass; no gradient leaves a block.

    goodness    spatial goodness encoding and the number of patches per side
    block       one block: convolution, the branch that feeds the next block, the branch that learns
    step        one block's local step: by autograd, and the same written out
    stage       consecutive blocks and their optimisers
    whitening   a first convolution that begins as whitening of the images
    network     channel plans and the stack of blocks
    strategies  how a trained network predicts: last, fusion, best
    settings    all settings, and the values that the authors' code has
    learner     training: one local step per block and batch
    parallel    the same training with the blocks in several processes

Shared with the baselines:

    layers      pools (RMSPool, SoftPool) and gates (GCT); also as ``asge.pooling`` and ``asge.gating``
    common      optimisers (Muon) and schedules, types, annotations of settings
"""

from asge import strategies
from asge.block import ASGEBlock
from asge.learner import ASGE, ASGELearner
from asge.network import ASGENetwork
from asge.settings import ASGESettings

__all__ = ["ASGE", "ASGEBlock", "ASGELearner", "ASGENetwork", "ASGESettings", "strategies"]
