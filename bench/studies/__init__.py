"""Studies: measurements other than grids of training runs, each with a table, figures, and a file of its numbers.

    study                  the definition of a study, and its record
    loaders                images per second of every loader, and how long training waits for them
    memory                 peak live and peak allocated bytes of a suite's methods
    pooling_preservation   how well images are preserved by pools
    robustness             accuracy and work of gated networks on adversarial images
    segmentation           gated PSPNets on Cityscapes;  cityscapes: its files
    skipping               prediction time of trained networks relative to their executed work

Grids of training runs are suites, see ``bench.suites``.
"""

from bench.studies.study import Request, Study, get, names, run

__all__ = ["Request", "Study", "get", "names", "run"]
