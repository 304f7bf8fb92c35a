from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional

from bench.data.sets import resizing
from bench.data.sets.resizing import resized
from bench.data.sets.tasks import DIGITS
from bench.errors import UserError


@pytest.mark.parametrize("side", [5, 12])
def test_images_are_resized_as_torchvision_does(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "TOGETHER", 700)
    task = resized(DIGITS, side)
    assert (task.shape, task.classes, task.name) == ((1, side, side), 10, "digits")
    plain, found = DIGITS.read(None), task.read(None)
    for images, small in ((plain.train_images, found.train_images), (plain.test_images, found.test_images)):
        assert isinstance(images, torch.Tensor)
        expected = functional.resize(images, [side, side], antialias=True)
        assert isinstance(small, torch.Tensor)
        assert small.is_contiguous()
        assert small.dtype == torch.uint8
        assert torch.equal(small, expected)
    assert torch.equal(found.train_labels, plain.train_labels)


def test_a_task_of_that_size_or_without_a_side_is_itself() -> None:
    assert resized(DIGITS, None) is DIGITS
    assert resized(DIGITS, 8) is DIGITS


def test_image_files_are_refused() -> None:
    def read(_: Path | None) -> object:
        return replace(DIGITS.read(None), train_images=object())

    task = resized(replace(DIGITS, read=read), 16)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="resize is for tasks whose images are arrays; those of digits are files"):
        task.read(None)
