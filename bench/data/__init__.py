"""Data sets on disk, batches as a learner gets them, and FFCV's files.

sets       sources and files, tasks and their splits: uint8 arrays or encoded images
batches    order, framing and augmentation of a batch, whatever loads it; the loaders of PyTorch and of memory
ffcv       writes, checks and reads FFCV's files
loaders    the loader of a cell, by kind
pack       writes FFCV's files before a run
"""
