"""Measuring time, memory, work, energy, and disturbances. Nothing here runs inside a training step.

clock        segments of time, and the summary of a run
memory       resident size, live tensor bytes, allocator peaks
flops        floating-point operations of a callable
energy       joules from a hardware counter, where one can be read
noise        what else the machine did meanwhile
meters       the meters of a training segment, read together
environment  which code ran on what
race         steps of several learners in turns: speeds that compare
layers       layer by layer, within a step
probe        the figures of a learner that need steps of their own: compute only, live bytes, FLOPs
"""
