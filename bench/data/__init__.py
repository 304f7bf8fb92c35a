"""Data, in three wings: the sets on disk, the batches that a learner is given, and FFCV's files.

sets       sources and files, tasks and their splits: uint8 arrays or encoded images
batches    order, framing and augmentation of a batch, whatever loads it; the loaders of PyTorch and of memory
ffcv       FFCV's files: written, checked, read
loaders    the loader of a cell, by kind
pack       FFCV's files ahead of a run
"""
