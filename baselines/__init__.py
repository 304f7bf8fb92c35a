"""What ASGE is compared with: Forward-Forward, CwC and backprop, each readable on one page.

forward_forward   Hinton's multi-layer perceptron
cwc               channel-wise competitive learning
backprop          end-to-end training of ASGE's own topology
"""
