import socket
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torchvision

from bench.data.sets.fetchers import FetchError, Torchvision


def test_torchvision_is_asked_to_download_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def download(root: Path, *, download: bool) -> None:
        asked.append((root, download, socket.getdefaulttimeout()))
        print("Downloading")
        print("100%", file=sys.stderr)

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    Torchvision("MNIST")(tmp_path)
    assert asked == [(tmp_path, True, 30.0)]
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (URLError("no route to host"), "no route to host"),
        (RuntimeError("Error downloading x:\nTried a\nTried b"), "^Error downloading x:$"),
        (EOFError(), "EOFError"),
    ],
)
def test_failures_of_torchvision(
    failure: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Path, **_options: bool) -> None:
        raise failure

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(FetchError, match=message):
        Torchvision("CIFAR10")(tmp_path)
