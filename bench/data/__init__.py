"""Data sets: downloads, tasks, splits, augmentation and loaders."""
