"""A package of somebody else's, with a method and a task of its own, as an installed one would be found."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASK = '''
"""stripes.py: which way do the stripes run?"""

import torch

from bench.plugins import Arrays, Task


def read(data_dir):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 2
    stripes = (torch.arange(12) % 4 < 2).float().expand(12, 12)
    images = torch.where(labels.view(-1, 1, 1).bool(), stripes, stripes.T)
    noisy = (120 * images + 100 * torch.rand(600, 12, 12, generator=generator)).to(torch.uint8)[:, None]
    return Arrays(noisy[:500].contiguous(), labels[:500], noisy[500:].contiguous(), labels[500:])


STRIPES = Task(
    name="stripes", title="stripes", shape=(1, 12, 12), classes=2, mean=(0.43,), std=(0.26,),
    validation_size=100, test_size=100, read=read,
)
'''


def code_blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def write(folder):
    """Make both known to a Python that has ``folder`` on its path."""
    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    [module] = code_blocks(page, "python")
    [entry] = code_blocks(page, "toml")
    (folder / "random_features.py").write_text(module, encoding="utf-8")
    (folder / "stripes.py").write_text(TASK, encoding="utf-8")
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n", encoding="utf-8")
    [(name, value)] = tomllib.loads(entry)["project"]["entry-points"]["bench.methods"].items()
    points = f"[bench.methods]\n{name} = {value}\n[bench.tasks]\nstripes = stripes:STRIPES\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
