import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.seeds import derive, generator


def test_derive_is_a_hash_of_the_json_list() -> None:
    digest = hashlib.blake2b(b'[7, 3, "order"]', digest_size=8).digest()
    assert derive(7, 3, "order") == int.from_bytes(digest, "little") // 2


@given(st.integers(), st.lists(st.integers() | st.text()))
def test_derive_fits_a_torch_seed(seed: int, parts: list[int | str]) -> None:
    assert 0 <= derive(seed, *parts) < 2**63


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, "ab"), (1, "a", "b")), ((1, 2), (1, "2")), ((1, 23), (12, 3)), ((0, "order"), (0, "augment"))],
)
def test_streams_of_different_names_differ(one: tuple[int, str], other: tuple[int, str]) -> None:
    assert derive(*one) != derive(*other)


def test_generator_repeats() -> None:
    first, second = (torch.rand(4, generator=generator(3, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(4, generator=generator(3, "y")))
