"""Ten typical defects of published code, each as an edit of this project's code.

An edit replaces one piece of text, which has to be there exactly once: a defect that no longer fits the code is an
error, not a defect that nobody plants.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("asge", "ff", "cwc", "backprop")


@dataclass(frozen=True)
class Edit:
    """A text in one file, and its replacement."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Defect:
    """One defect.

    Attributes:
        key: name of its folder.
        title: what was done, in a table.
        methods: those that it changes.
    """

    key: str
    title: str
    methods: tuple[str, ...]
    edits: tuple[Edit, ...]


BY_AUTOGRAD = Edit("asge/stage.py", '{"fast": fast_step,', '{"fast": autograd_step,')
"""Defects that detach and a fixed projection prevent need autograd; this edit alone changes the losses' last bits."""

DEFECTS = (
    Defect(
        "detach",
        "detach removed: gradients cross layers",
        ("asge", "ff", "cwc"),
        (
            # The graph of a layer is needed again by the next one: without the second edit an error would tell.
            BY_AUTOGRAD,
            Edit(
                "asge/step.py",
                "    y = y.detach()\n    next_input",
                "    next_input",
            ),
            Edit("asge/step.py", "block.pooled(y, next_input)", "block.pooled(y.detach(), next_input)"),
            Edit("asge/step.py", "loss.backward()", "loss.backward(retain_graph=True)"),
            Edit("baselines/cwc.py", "x = out.detach()", "x = out"),
            Edit(
                "baselines/cwc.py",
                'backward()\n                losses[f"',
                'backward(retain_graph=True)\n                losses[f"',
            ),
            Edit("baselines/forward_forward.py", "index, h.detach()", "index, h"),
            Edit(
                "baselines/forward_forward.py",
                'backward()\n            losses[f"',
                'backward(retain_graph=True)\n            losses[f"',
            ),
        ),
    ),
    Defect(
        "projection",
        "fixed projection trained by mistake",
        ("asge",),
        (
            BY_AUTOGRAD,
            Edit(
                "asge/block.py",
                'self.register_buffer("weight", draw * factor)',
                "self.weight = nn.Parameter(draw * factor)",
            ),
        ),
    ),
    Defect(
        "negatives",
        "negatives that include the true label",
        ("ff",),
        (Edit("baselines/forward_forward.py", "torch.randint(1, classes", "torch.randint(0, classes"),),
    ),
    Defect(
        "after-pool",
        "goodness read after pooling and normalisation",
        ("asge",),
        (
            BY_AUTOGRAD,
            Edit("asge/block.py", "g = spatial_goodness(y,", "g = spatial_goodness(self.propagate(y),"),
        ),
    ),
    Defect(
        "labels",
        "labels shifted for 3 % of the training data",
        ALL,
        (
            Edit(
                "bench/data/sets/splits.py",
                'train=Split(arrays.train_images[train], labels[train], train, "train")',
                "train=Split(arrays.train_images[train], (labels[train] + (torch.arange(len(train)) % 33 == 0)) % 10, "
                'train, "train")',
            ),
        ),
    ),
    Defect(
        "augmented-test",
        "augmentation also at test time",
        ALL,
        (
            Edit(
                "bench/running/parts.py",
                "augmentation=spec.augmentation if augmented else ()",
                "augmentation=spec.augmentation",
            ),
        ),
    ),
    Defect(
        "best-test-epoch",
        "best epoch chosen on test data",
        ALL,
        (
            Edit("bench/running/cell.py", "            data.validation,\n", "            data.test,\n"),
            Edit("bench/running/cell.py", "accuracy=last[strategy]", "accuracy=best[strategy]"),
        ),
    ),
    Defect(
        "learning-rate",
        "learning rate three times as high",
        ALL,
        (
            Edit(
                "asge/common/optimisers.py", "(peak - self._min_rate) * factor", "(3 * peak - self._min_rate) * factor"
            ),
        ),
    ),
    Defect(
        "relu",
        "ReLU left out",
        ALL,
        (
            Edit("asge/block.py", "return F.relu(self.conv(x), inplace=True)", "return self.conv(x)"),
            Edit("baselines/cwc_layer.py", "return F.relu(y, inplace=True)", "return y"),
            Edit(
                "baselines/forward_forward_bodies.py",
                "        return F.relu(z)\n\n\nclass _Passing",
                "        return z\n\n\nclass _Passing",
            ),
        ),
    ),
    Defect(
        "leak",
        "validation images leaked into training",
        ALL,
        (Edit("bench/data/sets/splits.py", "    remaining[validation] = False\n", ""),),
    ),
)

CONTROL = Defect("control", "none: ASGE's step taken by autograd", ("asge",), (BY_AUTOGRAD,))
"""No defect: the edit that some defects of ASGE need, alone. Its effect on an equal machine is theirs too."""
