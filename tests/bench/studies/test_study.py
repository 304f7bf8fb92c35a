import json
from types import SimpleNamespace

import pytest
import torch

from bench import studies
from bench.data.sets import tasks
from bench.errors import UserError
from bench.studies import pooling_preservation
from bench.studies.pooling_preservation import WAYS, Way, restored


@pytest.fixture
def pictures(monkeypatch):
    images = torch.randint(256, (6, 3, 31, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0] = 90  # one of a single colour comes back to the bit, or nearly
    made = SimpleNamespace(
        name="pictures", title="Pictures", shape=(3, 31, 32), read=lambda _: SimpleNamespace(test_images=images)
    )
    monkeypatch.setattr(tasks, "get_task", lambda name: made)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_an_image_of_one_colour_is_kept_by_every_pool(way, kernel):
    images = torch.full((1, 3, 30, 30), 0.5)
    torch.testing.assert_close(restored(images, way, kernel), images)


def test_only_softpool_depends_on_the_range():
    images = torch.rand(2, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    for kind in ("avg", "rms", "max"):
        torch.testing.assert_close(restored(images, Way(kind, 1), 2), restored(images, Way(kind, 255), 2))
    assert not torch.allclose(restored(images, Way("soft", 1), 2), restored(images, Way("soft", 255), 2), atol=0.05)
    torch.testing.assert_close(
        restored(images, Way("soft", 1000), 2), restored(images, Way("max", 1), 2), atol=0.02, rtol=0
    )


@pytest.mark.slow
def test_a_study_leaves_its_numbers_and_figures(pictures, tmp_path):
    record, figures = studies.run("pooling-preservation", studies.Request("pictures", 6, 0, None), tmp_path / "new")
    assert json.loads((tmp_path / "new" / "study.json").read_text())["rows"] == record.rows
    assert len(record.rows) == 3 * len(WAYS)
    assert {path.name for path in figures} == {"pooled-images.png", "similarity.png"}
    assert all(path.stat().st_size > 10_000 for path in figures)
    ssim = {(row[0], row[1]): row[2] for row in record.rows}
    assert all(0 < value < 1 for value in ssim.values())
    for kernel in (2, 3, 5):
        assert ssim["avg", kernel] > ssim["max", kernel]
    assert all(isinstance(row[4], float) and row[4] < 100 for row in record.rows)
    again, _ = studies.run("pooling-preservation", studies.Request("pictures", 6, 0, None), tmp_path / "again")
    assert again.rows == record.rows


def test_similarity_of_what_is_the_same():
    images = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    ssim, psnr = pooling_preservation._similarity(images, images)
    assert ssim == [1.0, 1.0]
    assert psnr == [float("inf")] * 2
    _, psnr = pooling_preservation._similarity(images, images + 0.1)
    assert psnr == pytest.approx([20.0, 20.0], abs=1e-4)  # a mean square error of 0.01


@pytest.mark.parametrize(
    ("name", "task", "samples", "message"),
    [
        ("poolng-preservation", None, 10, "did you mean 'pooling-preservation'"),
        ("pooling-preservation", "digits", 10, "images of digits are too small to compare"),
        ("pooling-preservation", "pictures", 1, "--samples must be at least 2, got 1"),
    ],
)
def test_bad_requests_are_one_sentence(name, task, samples, message, tmp_path):
    with pytest.raises(UserError, match=message):
        studies.run(name, studies.Request(task, samples, 0, None), tmp_path / "studies" / "out")
    assert not list(tmp_path.iterdir())


def test_more_samples_than_there_are(pictures, tmp_path):
    with pytest.raises(UserError, match="--samples 7 is more than the 6 test images there are"):
        studies.run("pooling-preservation", studies.Request("pictures", 7, 0, None), tmp_path)
