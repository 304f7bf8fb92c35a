"""Studies: measurements that are no grid of trainings, each with a table, figures, and a file that holds its numbers.

    study                  what a study is, and its record
    pooling_preservation   what is left of an image after a pool

A grid of trainings is a suite, see ``bench.suites``.
"""

from bench.studies.study import Request, Study, get, names, run

__all__ = ["Request", "Study", "get", "names", "run"]
