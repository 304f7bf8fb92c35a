import pytest

import bench
from bench.errors import UserError
from bench.reference import folder, measured


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """As if the package were installed below one folder, with references of `ci`, and run in another."""
    monkeypatch.delenv("BENCH_REFERENCE", raising=False)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "bench" / "__init__.py"))
    packaged = tmp_path / "site-packages" / "bench" / "reference" / "stored"
    monkeypatch.setattr(folder, "PACKAGED", packaged)
    (packaged / "measured").mkdir(parents=True)
    (packaged / "measured" / "ci.json").touch()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return packaged


def own(name):
    path = folder.HERE / "measured" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_checkout_has_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("BENCH_REFERENCE", raising=False)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench" / "__init__.py"))
    (tmp_path / "pyproject.toml").touch()
    assert folder.reference_folder() == tmp_path / "results" / "reference"
    assert folder.find("measured/ci.json") is None


def test_the_variable_comes_before_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    assert folder.reference_folder() == tmp_path
    assert folder.measured_suites() == []


def test_an_installed_package_reads_what_it_brings_along(installed):
    assert folder.find("measured/ci.json") == installed / "measured" / "ci.json"
    assert folder.find("measured/quick.json") is None


def test_an_installed_package_writes_to_the_current_folder_and_reads_that_first(installed):
    mine = own("ci")
    assert measured.path_of("ci") == mine
    assert folder.find("measured/ci.json") == mine
    with pytest.raises(
        UserError, match=r"results/reference/measured/ci\.json is not a valid file of measured references"
    ):
        measured.load("ci")


def test_suites_with_references_of_both(installed):
    own("ci")
    own("mine")
    assert folder.measured_suites() == ["ci", "mine"]
