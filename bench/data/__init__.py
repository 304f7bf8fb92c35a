"""Data: where files come from, tasks, splits, augmentation and loaders."""
