from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.sets.stratify import quotas, stratified


@given(st.data())
def test_quotas_are_the_shares_rounded_to_a_neighbour(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    size = data.draw(st.integers(0, sum(counts)))
    found = quotas(counts, size)
    assert sum(found) == size
    for quota, count in zip(found, counts, strict=True):
        assert quota <= count
        assert size == 0 or abs(quota - Fraction(count * size, sum(counts))) < 1


@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_stratified_draws_distinct_positions_in_order(labels: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(labels)))
    chosen = stratified(torch.tensor(labels, dtype=torch.int64), size, torch.Generator().manual_seed(0)).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    assert set(chosen) <= set(range(len(labels)))


def test_stratified_is_random_but_repeats() -> None:
    labels = torch.arange(10).repeat(20)
    draws = [stratified(labels, 50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.bincount(labels[draws[0]]).tolist() == [5] * 10


@pytest.mark.parametrize("size", [-1, 4])
def test_cannot_draw_more_than_there_are(size: int) -> None:
    with pytest.raises(ValueError, match=f"cannot draw {size} of 3"):
        stratified(torch.tensor([0, 1, 1]), size, torch.Generator())
