"""The methods that ASGE is compared with, each readable on one page.

forward_forward   Hinton's perceptron, and convolutions on ASGE's plans; with SymBa's loss and labels too
cwc               channel-wise competitive learning
deeper_forward    mean goodness and group normalisation, for deep networks
hcl_ff            the same with coarse classes first and a contrastive loss
mono_forward      a learned projection of every layer's activations
cafo              random blocks with trained classifiers
local_error       local error signals pred, sim and predsim
backprop          end-to-end training of ASGE's own topology, of VGG, or of any model of timm
"""
