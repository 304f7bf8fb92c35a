from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_boxes import write_pictures

from bench.data.sets import folder_tasks, folders, sources
from bench.data.sets.encoded import Encoded
from bench.data.sets.tasks import get_task
from bench.errors import LoaderError, UserError

TASKS = [folder_tasks.TINY_IMAGENET_20, folder_tasks.TINY_IMAGENET, folder_tasks.IMAGENETTE, folder_tasks.IMAGENET]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_that_is_not_here_says_what_to_download(task: folder_tasks.Task, tmp_path: Path) -> None:
    assert get_task(task.name) is task
    assert task.folder is not None
    with pytest.raises(UserError, match=rf"--data-dir is {tmp_path}, which lacks {task.folder.train} of .*: download "):
        task.read(tmp_path)
    with pytest.raises(UserError, match="download "):
        sources.fetch(task, tmp_path)
    assert {status.status for status in sources.verify(task, tmp_path)} == {"missing"}


def test_classes_and_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    arrays = folders.read(tmp_path, folder)
    assert arrays.train_labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    images = arrays.test_images
    assert isinstance(images, Encoded)
    assert images.listing.names[:2] == ("pictures/val/class0/0.JPEG", "pictures/val/class0/1.JPEG")
    some = images[torch.tensor([11, 2])]
    assert [some.path(k).relative_to(tmp_path).as_posix() for k in range(2)] == [
        "pictures/val/class2/3.JPEG",
        "pictures/val/class0/2.JPEG",
    ]
    assert [status.detail for status in folders.verify(tmp_path, folder)] == ["24 images", "12 images"]


def test_what_is_not_as_it_should_be_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    with pytest.raises(UserError, match="has 3 folders of classes, expected 4"):
        folders.read(tmp_path, replace(folder, classes=4))
    (tmp_path / "pictures/val/class1/2.JPEG").unlink()
    with pytest.raises(UserError, match="val has 11 images, expected 12: make some pictures"):
        folders.read(tmp_path, folder)
    (tmp_path / "pictures/val/class1").rename(tmp_path / "pictures/val/class9")
    with pytest.raises(UserError, match="differ in class 'class1'"):
        folders.read(tmp_path, folder)
    assert [status.status for status in folders.verify(tmp_path, folder)] == ["ok", "damaged"]


def test_labels_beside_the_images_as_in_tiny_imagenet(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    val = tmp_path / "pictures/val"
    (val / "class1").rename(val / "images")
    lines = [f"{name}.JPEG\tclass{2 - name % 3}\t0\t0\t62\t62" for name in range(4)]
    (val / folders.ANNOTATIONS).write_text("\n".join(lines) + "\n")
    assert folders.read(tmp_path, replace(folder, test_size=4)).test_labels.tolist() == [2, 1, 0, 2]
    (val / folders.ANNOTATIONS).write_text("0.JPEG\tclass7\t0\n")
    with pytest.raises(UserError, match=r"0.JPEG with class 'class7', which has no training images"):
        folders.read(tmp_path, folder)


def test_images_of_one_size_fit_into_a_tensor(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, size=(9, 12))
    images = folders.read(tmp_path, folder).test_images
    assert isinstance(images, Encoded)
    assert images.tensor((3, 9, 12)).shape == (12, 3, 9, 12)
    with pytest.raises(UserError, match=r"class0/0.JPEG is \(3, 9, 12\), but loader 'memory' takes images of one size"):
        images.tensor((3, 12, 9))


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.sets.encoded._free_bytes", lambda: 2 * 12 * 3 * 9 * 12 - 1)
    images = folders.read(tmp_path, write_pictures(tmp_path, size=(9, 12))).test_images
    assert isinstance(images, Encoded)
    with pytest.raises(UserError, match="more than half of the free memory: use loader 'ffcv' or 'torch'"):
        images.tensor((3, 9, 12))


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, size=(9, 12))
    images = folders.read(tmp_path, folder).test_images
    assert isinstance(images, Encoded)
    images.path(5).write_text("not a picture")
    with pytest.raises(LoaderError, match=f"{images.path(5)} cannot be decoded: cannot identify image file"):
        images.tensor((3, 9, 12))
