import pytest
import torch

from bench.measure import work


def test_summary_by_hand():
    macs = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64)
    layers = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.5], [1.0, 0.5]], dtype=torch.float64)
    labels, right = torch.tensor([0, 0, 2, 2]), torch.tensor([True, True, True, False])
    found = work.summary(macs, layers, labels, right)
    assert (found.macs, found.macs_deviation) == (4.0, pytest.approx(5**0.5))
    assert [found.macs_quantiles[0], found.macs_quantiles[3], found.macs_quantiles[-1]] == [1.0, 4.0, 7.0]
    assert found.macs_by_class == [2.0, None, 6.0]
    assert (found.macs_of_right, found.macs_of_wrong) == (3.0, 7.0)
    assert found.layers == [1.0, 0.5]
    assert found.layers_by_class == [[1.0, 0.5], [], [1.0, 0.5]]


def test_where_all_are_right_there_is_no_mean_of_the_wrong():
    found = work.summary(torch.ones(2), torch.ones(2, 1), torch.tensor([0, 1]), torch.tensor([True, True]))
    assert found.macs_of_wrong is None


class Always:
    strategies = ("logits",)

    def predict(self, images, strategy):
        return torch.eye(2)[images.flatten().long()]


class Choosy(Always):
    def executed_macs(self, images):
        return 10 * images.flatten()

    def executed_layers(self, images):
        return images.flatten()[:, None]


def test_only_a_learner_for_which_images_differ_has_work_to_show():
    batches = [(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 0])), (torch.tensor([[1.0]]), torch.tensor([1]))]
    assert work.executed(Always(), batches) is None
    found = work.executed(Choosy(), batches)
    assert found.macs == pytest.approx(20 / 3)
    assert found.macs_of_right == 5.0  # the first and the last
    assert found.macs_of_wrong == 10.0
