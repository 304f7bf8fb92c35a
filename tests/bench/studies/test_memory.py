"""The study of memory on a small suite: a row per step and strategy, and the numbers of the probes."""

import json

import pytest

from bench import studies
from bench.errors import UserError
from bench.report import pages

SUITE = """
tasks = ["digits"]
epochs = 2
batch_size = 16
threads = 1
[methods.backprop]
plan = "4,M,8"
[methods.local-error]
plan = "4,M,8"
signal = "pred"
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return str(path)


def test_a_row_per_step_and_strategy(suite, tmp_path):
    record, figures = studies.run("memory", studies.Request(None, 16, 0, None), tmp_path / "out", {"suite": suite})
    assert (record.task, figures) == ("digits", [])
    assert [row[:2] for row in record.rows] == [
        ["backprop", "a training step"],
        ["backprop", "predicting by logits"],
        ["local-error", "a training step"],
        ["local-error", "predicting by logits"],
        ["local-error", "predicting by best"],
    ]
    for _, _, live, allocated, more in record.rows:
        assert 0 < live <= allocated
        assert more >= 0
    page = tmp_path / "page.md"
    page.write_text("<!-- study: out -->\n<!-- end of table -->\n")
    assert pages.fill(page, tmp_path) == 1
    assert "**memory, digits**" in page.read_text()
    assert f"| backprop | a training step | {record.rows[0][2]} |" in page.read_text()


def test_bad_requests_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="--samples is 10001, and at most 10,000 images"):
        studies.run("memory", studies.Request(None, 10_001, 0, None), tmp_path / "out")
    (tmp_path / "wide.toml").write_text(SUITE.replace("batch_size = 16", "batch_size = 1_000_000_000_000"))
    with pytest.raises(UserError, match="batch_size of suite wide is 1000000000000"):
        studies.run(
            "memory", studies.Request(None, 2, 0, None), tmp_path / "out", {"suite": str(tmp_path / "wide.toml")}
        )
    with pytest.raises(UserError, match="unknown suite 'c1'"):
        studies.run("memory", studies.Request(None, 16, 0, None), tmp_path / "out", {"suite": "c1"})


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "does not exist"), ("[]", "is not the record of a study"), ({"rows": [[1]]}, "a value per column")],
)
def test_a_page_names_a_study_that_cannot_be_read(tmp_path, content, words):
    page = tmp_path / "page.md"
    page.write_text("<!-- study: out -->\n<!-- end of table -->\n")
    (tmp_path / "out").mkdir()
    if content is not None:
        whole = {"study": "a", "task": "b", "columns": ["x", "y"], "rows": [], "notes": []}
        text = content if isinstance(content, str) else json.dumps(whole | content)
        (tmp_path / "out" / "study.json").write_text(text)
    with pytest.raises(UserError, match=words):
        pages.fill(page, tmp_path)
