"""The HTML page: its form, and, where Chromium is installed, what a browser makes of it."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from factories import record

from bench.errors import UserError
from bench.report import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects ids, addresses and texts of cells."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.rows = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("href", "src", "xlink:href") if name in values]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open) and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture
def runs(tmp_path):
    """A folder with three cells of two methods, and one that failed."""
    made = [
        record(seed=0, accuracies={"last": 90.0, "best": 91.0}, settings={"alpha": 1.0}),
        record(seed=1, accuracies={"last": 92.0, "best": 91.4}, settings={"alpha": 1.0}),
        record("ff", accuracies={"goodness": 80.0}),
        record("cwc", status="diverged", accuracies={"goodness": 1.0}),
    ]
    for each in made:
        (tmp_path / "mine" / each.id).mkdir(parents=True)
        (tmp_path / "mine" / each.id / "record.json").write_text(each.model_dump_json())
    return tmp_path / "mine"


def test_the_same_records_are_the_same_bytes(runs, tmp_path):
    first = page.write([runs], tmp_path / "new" / "a.html").read_bytes()
    assert first == page.write([runs], tmp_path / "b.html").read_bytes()
    assert len(first) < 2**20


def test_every_row_stands_in_the_page_with_its_seeds(runs):
    rows = read(page.page([runs])).rows
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    asge = next(row for row in cells if row[:2] == ["asge", "last"])
    assert asge[2] == "91.00 ±12.71"
    assert "seed 0: 90.00, seed 1: 92.00" in asge[3]
    assert [row[1] for row in cells if row and row[0] == "asge"] == ["last", "best"]
    cwc = next(row for row in cells if row[0] == "cwc")
    assert cwc[-1].startswith("diverged")
    assert "cwc, seed 0: diverged. it broke" in page.page([runs])


def test_addresses_stay_within_the_page_and_ids_are_unique(runs):
    found = read(page.page([runs]))
    assert len(found.ids) == len(set(found.ids))
    inside = [address[1:] for address in found.addresses if address.startswith("#")]
    assert set(inside) <= set(found.ids)
    outside = [address for address in found.addresses if not address.startswith("#")]
    assert all(address.startswith("data:application/json,") for address in outside)


def test_a_record_can_be_saved_and_made_again(runs):
    text = page.page([runs])
    kept = [json.loads(unquote(found)) for found in re.findall(r'href="data:application/json,([^"]+)"', text)]
    assert {each["id"] for each in kept} == {path.name for path in runs.iterdir()}
    assert "bench run test --methods asge --tasks fashion-mnist --first-seed 1 --seeds 1" in text
    assert "--set asge.alpha=1.0" in text


def test_nothing_may_be_fetched_and_only_the_page_s_own_script_may_run(runs):
    text = page.page([runs])
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{hashed}'" in policy
    assert not re.search(r" on\w+=", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def test_text_of_records_is_no_markup(tmp_path):
    made = record(settings={"plan": "<script>alert(1)</script>"})
    (tmp_path / "runs" / made.id).mkdir(parents=True)
    (tmp_path / "runs" / made.id / "record.json").write_text(made.model_dump_json())
    assert "<script>alert" not in page.page([tmp_path / "runs"])


def test_folders_without_records_are_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing was measured in"):
        page.page([tmp_path / "empty"])
    with pytest.raises(UserError, match="does not exist"):
        page.page([tmp_path / "nowhere"])


def browse(file, state=""):
    """The page after its script ran, and what the console said."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=2000", "--dump-dom", f"file://{file}{state}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def strategies_in(dom):
    body = re.search(r'<table class="results">.*?<tbody>(.*?)</tbody>', dom, re.DOTALL)[1]
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", body, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)[0] for tag, row in rows if "hidden" not in tag]


@needs_chromium
@pytest.mark.slow
def test_a_browser_sorts_and_filters_as_the_address_says(runs, tmp_path):
    file = page.write([runs], tmp_path / "page.html")
    plain, console = browse(file)
    assert console == []
    failed = ["goodness", "softmax", "best"]  # of cwc, without a value: last in either direction
    assert strategies_in(plain) == ["last", "best", *failed, "goodness"]
    assert 'class="tools"' in plain
    assert re.search(r'class="tools"[^>]*hidden', plain) is None
    ascending, console = browse(file, "#mine-fashion-mnist.sort=2,1")
    assert console == []
    assert strategies_in(ascending) == ["goodness", "last", "best", *failed]
    descending, _ = browse(file, "#mine-fashion-mnist.sort=2,-1")
    assert strategies_in(descending) == ["best", "last", "goodness", *failed]
    filtered, _ = browse(file, "#mine-fashion-mnist.filter=asge+best")
    assert strategies_in(filtered) == ["best"]
    hidden, _ = browse(file, "#mine-fashion-mnist.hidden=live")
    assert re.search(r'<th[^>]*data-column="live"[^>]*hidden', hidden)
