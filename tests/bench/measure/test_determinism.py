import warnings

import pytest
import torch

from bench.measure.determinism import deterministic


def test_a_cpu_is_left_as_it_is():
    with deterministic(torch.device("cpu")) as found:
        assert not torch.are_deterministic_algorithms_enabled()
    assert found == []


def test_on_cuda_operations_without_a_deterministic_algorithm_are_listed_once_and_other_warnings_pass():
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with deterministic(torch.device("cuda")) as found:
            assert torch.are_deterministic_algorithms_enabled()
            for _ in range(2):
                warnings.warn("cumsum_cuda_kernel does not have a deterministic implementation, but you", stacklevel=1)
        assert found == ["cumsum_cuda_kernel"]
    assert not torch.are_deterministic_algorithms_enabled()
    assert warnings.showwarning is before


def test_what_a_user_has_silenced_is_listed_all_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with deterministic(torch.device("cuda")) as found:
            warnings.warn("something is not deterministic here", stacklevel=1)
    assert found == ["something is not deterministic here"]


def test_the_setting_is_put_back_after_an_error():
    with pytest.raises(ValueError, match="training"), deterministic(torch.device("cuda")):
        raise ValueError("training")
    assert not torch.are_deterministic_algorithms_enabled()
