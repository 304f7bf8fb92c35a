"""Measuring time, memory, work, energy, and disturbances. Nothing here runs inside a training step.

clock        segments of time, and the summary of a run
memory       resident size, live tensor bytes, allocator peaks
flops        floating-point operations of a callable
energy       joules from a hardware counter, if readable
noise        other load on the machine
meters       the meters of a training segment, read together
environment  the code and the machine of a run
race         comparable speeds: steps of several learners in turns
layers       time and memory per layer of a step
probe        measurements that need steps of their own: compute only, live bytes, FLOPs
"""
