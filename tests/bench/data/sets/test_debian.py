import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.data.sets import debian
from bench.data.sets.fetchers import FetchError

FOLDER = Path("usr/share/datasets/fashion-mnist")
NAMES = ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


def _install(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    for name in NAMES:
        (root / FOLDER / f"{name}.gz").write_bytes(gzip.compress(name.encode()))


def _assert_unpacked(destination: Path) -> None:
    found = {str(path.relative_to(destination)): path.read_bytes() for path in destination.rglob("*") if path.is_file()}
    assert found == {f"FashionMNIST/raw/{name}": name.encode() for name in NAMES}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    _install(tree)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        "Description: made by a test\n"
    )
    path = tmp_path / "built" / "dataset-fashion-mnist_1_all.deb"
    path.parent.mkdir()
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(path)], check=True, capture_output=True)
    return path


@needs_dpkg
def test_unpack(package: Path, tmp_path: Path) -> None:
    debian.unpack(package, tmp_path / "out")
    _assert_unpacked(tmp_path / "out")
    assert list(package.parent.iterdir()) == [package]


@needs_dpkg
def test_unpack_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_text("not a package")
    with pytest.raises(FetchError, match=r"`dpkg-deb -x .*` failed"):
        debian.unpack(tmp_path / "x.deb", tmp_path / "out")


def _fake_run(monkeypatch: pytest.MonkeyPatch, package: Path, *, downloads_that_fail: int) -> list[str]:
    """Replace apt-get; dpkg-deb stays real. Returns the commands as they are called."""
    commands: list[str] = []
    real = subprocess.run

    def run(command: list[str], *, cwd: Path, **options: object) -> object:
        if command[0] != "apt-get":
            return real(command, cwd=cwd, **options)  # type: ignore[call-overload]
        commands.append(command[1])
        if command[1] == "download":
            if commands.count("download") <= downloads_that_fail:
                raise subprocess.CalledProcessError(100, command, stderr="Reading...\nE: Unable to locate package\n")
            shutil.copy(package, cwd)
        return None

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@needs_dpkg
def test_download(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _fake_run(monkeypatch, package, downloads_that_fail=0)
    debian.DebianPackage()(tmp_path / "out")
    assert commands == ["download"]
    _assert_unpacked(tmp_path / "out")


@needs_dpkg
def test_root_updates_the_lists_once(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _fake_run(monkeypatch, package, downloads_that_fail=1)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    debian.DebianPackage()(tmp_path / "out")
    assert commands == ["download", "update", "download"]


@needs_dpkg
def test_others_do_not(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _fake_run(monkeypatch, package, downloads_that_fail=1)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(
        FetchError, match="`apt-get download dataset-fashion-mnist` failed: E: Unable to locate package"
    ):
        debian.DebianPackage()(tmp_path / "out")
    assert commands == ["download"]


def test_machine_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(FetchError, match="apt-get is not installed"):
        debian.DebianPackage()(tmp_path / "out")


def test_installed_package(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="not installed"):
        debian.DebianInstalled(tmp_path)(tmp_path / "out")
    _install(tmp_path)
    debian.DebianInstalled(tmp_path)(tmp_path / "out")
    _assert_unpacked(tmp_path / "out")


def test_installed_package_that_is_damaged(tmp_path: Path) -> None:
    _install(tmp_path)
    archive = tmp_path / FOLDER / f"{NAMES[0]}.gz"
    archive.write_bytes(archive.read_bytes()[:20])
    with pytest.raises(FetchError, match=r"train-images-idx3-ubyte.gz cannot be unpacked"):
        debian.DebianInstalled(tmp_path)(tmp_path / "out")
