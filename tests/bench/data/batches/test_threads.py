import pytest
import torch

from bench.data.batches.threads import one_thread, threads_kept


@pytest.mark.usefixtures("keep_threads")
def test_threads_come_back_also_after_an_error() -> None:
    torch.set_num_threads(3)
    with threads_kept():
        torch.set_num_threads(5)
    assert torch.get_num_threads() == 3
    inside = []

    def fail() -> None:
        with one_thread():
            inside.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [1]
    assert torch.get_num_threads() == 3
