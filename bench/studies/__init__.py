"""Studies: measurements that are no grid of trainings, each with a table, figures, and a file that holds its numbers.

    study                  what a study is, and its record
    loaders                images per second of every loader, and how long training waits for them
    pooling_preservation   what is left of an image after a pool
    robustness             accuracy and work of gated networks on images that were changed to mislead them
    segmentation           gated PSPNets on Cityscapes;  cityscapes: its files
    skipping               time of the predictions of trained networks beside what they execute

A grid of trainings is a suite, see ``bench.suites``.
"""

from bench.studies.study import Request, Study, get, names, run

__all__ = ["Request", "Study", "get", "names", "run"]
