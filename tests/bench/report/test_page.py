"""The HTML page: its form, and, where Chromium is installed, what a browser makes of it."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest
from factories import gated, record

from bench.errors import UserError
from bench.records import Found
from bench.reference.verdicts import Check
from bench.report import page, rows
from bench.report.page import charts

ROOT = Path(__file__).parents[3]
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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with three cells of two methods, and one that failed."""
    tmp_path = tmp_path_factory.mktemp("runs")
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


@pytest.fixture(scope="module")
def text(runs):
    return page.page([page.read(runs)])


def test_the_same_records_are_the_same_bytes(runs, text, tmp_path):
    written = page.write([page.read(runs)], tmp_path / "new" / "a.html").read_bytes()
    assert written == text.encode()
    assert len(written) < 2**20


def test_every_row_stands_in_the_page_with_its_seeds(text):
    rows = read(text).rows
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    asge = next(row for row in cells if row[:2] == ["asge", "last"])
    assert asge[2] == "91.00 ±12.71"
    assert "seed 0: 90.00, seed 1: 92.00" in asge[3]
    assert [row[1] for row in cells if row and row[0] == "asge"] == ["last", "best"]
    cwc = next(row for row in cells if row[0] == "cwc")
    assert cwc[-1].startswith("diverged")
    assert "cwc, seed 0: diverged. it broke" in text


def test_addresses_stay_within_the_page_and_ids_are_unique(text):
    found = read(text)
    assert len(found.ids) == len(set(found.ids))
    inside = [address[1:] for address in found.addresses if address.startswith("#")]
    assert set(inside) <= set(found.ids)
    outside = [address for address in found.addresses if not address.startswith("#")]
    assert all(address.startswith("data:application/gzip;base64,") for address in outside)


def test_a_record_can_be_saved_and_made_again(runs, text):
    packed = re.findall(r'href="data:application/gzip;base64,([^"]+)"', text)
    kept = [json.loads(gzip.decompress(base64.b64decode(each))) for each in packed]
    assert {each["id"] for each in kept} == {path.name for path in runs.iterdir()}
    assert "bench run test --methods asge --tasks fashion-mnist --first-seed 1 --seeds 1" in text
    assert "--set asge.alpha=1.0" in text


def test_nothing_may_be_fetched_and_only_the_page_s_own_script_may_run(text):
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
    assert "<script>alert" not in page.page([page.read(tmp_path / "runs")])


def test_folders_without_records_are_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing was measured in"):
        page.read(tmp_path / "empty")
    with pytest.raises(UserError, match="does not exist"):
        page.read(tmp_path / "nowhere")


def strategies_in(dom):
    body = re.search(r'<table class="results">.*?<tbody>(.*?)</tbody>', dom, re.DOTALL)[1]
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", body, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)[0] for tag, row in rows if "hidden" not in tag]


def test_a_dot_is_a_link_to_its_cell_and_a_cell_to_its_rows(runs, text):
    [figure] = re.findall(r'<svg [^>]*aria-label="fashion mnist accuracy by seed".*?</svg>', text, re.DOTALL)
    linked = re.findall(r'<a href="#([^"]+)" class="dot" tabindex="-1">\s*<title>([^<]*)</title>', figure)
    asge = sorted(path.name for path in runs.iterdir() if "-asge-" in path.name)
    assert sorted(linked) == sorted(
        [
            (f"mine-fashion-mnist.{name}", f"asge, seed {seed}")
            for seed, name in enumerate(asge)
            for _ in ("last", "best")
        ]
        + [(f"mine-fashion-mnist.{next(path.name for path in runs.iterdir() if '-ff-' in path.name)}", "ff, seed 0")]
    )
    [cell] = re.findall(rf'<details class="cell" id="mine-fashion-mnist.{asge[1]}">.*?</details>', text, re.DOTALL)
    rows = dict(re.findall(r'<a href="#(mine-fashion-mnist.row\d)">(\w+)</a>', cell))
    assert sorted(rows.values()) == ["best", "last"]
    for anchor, strategy in rows.items():
        assert re.search(rf'<tr id="{anchor}">\s*<th scope="row">asge</th>\s*<td>{strategy}</td>', text)


def test_two_folders_of_one_name_and_the_same_cells_have_addresses_of_their_own(runs):
    found = read(page.page([replace(page.read(runs), drawn={}) for _ in range(2)]))
    assert len(found.ids) == len(set(found.ids))
    assert {"mine-fashion-mnist", "mine-2-fashion-mnist"} <= set(found.ids)


def test_verdicts_defaults_and_methods_stand_where_they_are_known(runs):
    def check(strategy, verdict, **more):
        return Check(
            task="fashion-mnist",
            method="asge",
            what="accuracy",
            strategy=strategy,
            experiment="-",
            verdict=verdict,
            **more,
        )

    checks = [check("last", "ok", limit=1.0, detects=1.2), check("best", "regression", limit=95.0, note="below 95.00")]
    about = {"asge": page.About("ASGE (arXiv 2509.12394).", {"alpha": 2.0})}
    source = replace(page.read(runs), checks=checks, methods=about, drawn={})
    text = page.page([source])
    assert "not known whether as stored: asge/best: alarm (below 95.00), `bench check test` decides" in text
    assert "detects and confirms a drop of 1.2 points in asge/last" in text
    rows = [[" ".join(cell.split()) for cell in row] for row in read(text).rows]
    assert [row[-2] for row in rows if row[:2] in (["asge", "last"], ["asge", "best"])] == ["ok", "alarm"]
    assert ["alpha", "1.0", "2.0"] in rows
    assert re.search(r"<dt>asge</dt><dd>ASGE \(arXiv 2509.12394\).</dd>", text)


def test_a_loss_that_is_no_number_is_no_curve():
    drawn = charts.lines("loss", "epoch", {"good": [2.0, 1.0], "bad": [1.0, float("nan")], "none": []})
    assert "good 1.0" in drawn
    assert "bad" not in drawn
    assert charts.lines("loss", "epoch", {"bad": [float("inf")]}) == ""


@pytest.mark.slow
def test_a_browser_sorts_and_filters_as_the_address_says(runs, tmp_path):
    file = page.write([page.read(runs)], tmp_path / "page.html")
    plain, console = browser.browse(file)
    assert console == []
    failed = ["goodness", "softmax", "best"]  # of cwc, without a value: last in either direction
    assert strategies_in(plain) == ["last", "best", *failed, "goodness"]
    assert 'class="tools"' in plain
    assert re.search(r'class="tools"[^>]*hidden', plain) is None
    ascending, console = browser.browse(file, "#mine-fashion-mnist.sort=2,1")
    assert console == []
    assert strategies_in(ascending) == ["goodness", "last", "best", *failed]
    descending, _ = browser.browse(file, "#mine-fashion-mnist.sort=2,-1")
    assert strategies_in(descending) == ["best", "last", "goodness", *failed]
    filtered, _ = browser.browse(file, "#mine-fashion-mnist.filter=asge+best")
    assert strategies_in(filtered) == ["best"]
    hidden, _ = browser.browse(file, "#mine-fashion-mnist.hidden=live")
    assert re.search(r'<th[^>]*data-column="live"[^>]*hidden', hidden)
    cell = next(path.name for path in runs.iterdir() if "-asge-" in path.name)
    opened, console = browser.browse(file, f"#mine-fashion-mnist.{cell}")
    assert console == []
    assert re.search(rf'<details[^>]*id="mine-fashion-mnist.{cell}"[^>]*open', opened)
    assert re.search(rf'<a href="#mine-fashion-mnist.{cell}" class="dot chosen"', opened)


@pytest.mark.slow
def test_a_browser_compares_the_settings_of_two_cells_and_copies_latex(runs, tmp_path):
    file = page.write([replace(page.read(runs), drawn={})], tmp_path / "page.html")
    asge, ff = (next(path.name for path in runs.iterdir() if f"-{method}-" in path.name) for method in ("asge", "ff"))
    program = f"""
        const cell = document.getElementById("mine-fashion-mnist.{asge}");
        cell.open = true;
        await new Promise((done) => setTimeout(done, 100));
        const select = cell.querySelector("select");
        select.value = "mine-fashion-mnist.{ff}";
        select.dispatchEvent(new Event("change"));
        const textsOf = (row) => [...row.cells].map((each) => each.textContent);
        const lines = [...cell.querySelectorAll("table.settings tr")].map(textsOf);
        const table = document.querySelector("table.results");
        result = {{lines, latex: copied(table, "latex"), csv: copied(table, "csv")}};
    """
    found = browser.in_page(file, program)
    assert found["lines"][0][-1] == "ff, seed 0"
    assert ["alpha", "1.0", "", "has none"] in found["lines"]
    latex = found["latex"].splitlines()
    assert latex[:2] == [r"\begin{tabular}{" + " ".join("l" * 13) + "}", r"\toprule"]
    assert latex[4].startswith(r"asge & last & 91.00 $\pm$12.71 & ")
    assert all(line.endswith(r" \\") and line.count(" & ") == 12 for line in (latex[2], *latex[4:-2]))
    assert found["csv"].splitlines()[1].startswith("asge,last,91.00 ±12.71,")


@pytest.mark.slow
def test_axe_finds_nothing_that_shuts_people_out(runs, text, tmp_path):
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    good.write_text(text, encoding="utf-8")
    bad.write_text(text.replace("<h1>", '<img src="data:,"><h1>'), encoding="utf-8")
    assert browser.violations(good) == []
    assert [rule for rule, *_ in browser.violations(bad)] == ["image-alt"]


@pytest.mark.slow
def test_without_scripts_all_rows_are_there(text, tmp_path):
    plain = tmp_path / "plain.html"
    plain.write_text(re.sub("<script>.*?</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    dom, console = browser.browse(plain)
    assert console == []
    assert len(strategies_in(dom)) == 6


@pytest.mark.slow
def test_the_page_of_kept_records_is_whole_in_a_browser(tmp_path):
    kept = page.read(ROOT / "results" / "quick")
    file = page.write([kept], tmp_path / "quick.html")
    dom, console = browser.browse(file)
    assert console == []
    expected = {(row.method, row.strategy) for row in rows.make(kept.found)}
    assert len(strategies_in(dom)) >= len(expected)
    assert browser.violations(file) == []


@pytest.mark.slow
def test_a_figure_with_an_image_in_it_is_shown(tmp_path):
    source = page.Source("gated", Found(list(gated("digits"))))
    file = page.write([source], tmp_path / "gated.html")
    assert "data:image/png" in file.read_text(encoding="utf-8")  # the bar of colors
    assert browser.browse(file)[1] == []
