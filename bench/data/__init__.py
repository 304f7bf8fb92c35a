"""Data: where files come from, tasks, splits, augmentation and loaders."""

import os

# FFCV starts numba's threads as it is imported. Those of its default layer, TBB, hang at the end of a process that has
# a single core (numba issue 10556). Which layer does not matter: nothing here is a parallel function of numba's.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
