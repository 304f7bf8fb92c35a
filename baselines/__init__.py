"""The methods that ASGE is compared with, each readable on one page.

forward_forward   Hinton's perceptron, and convolutions on ASGE's plans
cwc               channel-wise competitive learning
local_error       local error signals pred, sim and predsim
backprop          end-to-end training of ASGE's own topology, of VGG, or of any model of timm
"""
