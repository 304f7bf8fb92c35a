import csv
import io
import json

from factories import record
from rich.console import Console
from sides_made_up import three_rows, timed

from bench.compare import rendering
from bench.compare import table as compare
from bench.records import Found


def render(table, form="markdown"):
    out = io.StringIO()
    rendering.render(table, "A: old, B: new", form, Console(file=out))
    return out.getvalue()


def test_markdown_is_ready_for_a_pull_request():
    """asge: 4.5 +- t(97.5 %, 4) sqrt(2/3) = 4.5 +- 2.27; B is better with probability F(4.5 / sqrt(2/3)) = 0.997."""
    text = render(three_rows()).splitlines()
    assert text[0] == "1 row better, 1 identical, 1 only in A; speed: 1 faster"
    assert text[2] == "**A: old, B: new**"
    assert text[4] == (
        "| task | method | strategy | A % | B % | B - A, points [95 % interval] | B better, probability | verdict | "
        "train speed B/A [95 % interval] | speed A/A | speed verdict |"
    )
    assert text[6].startswith(
        "| fashion-mnist | asge | last | 91.00 (n=3) | 95.50 (n=3) | +4.50 [+2.23, +6.77] | 0.997 | better | 2.000 ["
    )
    assert text[6].endswith("] | 1.050 | faster |")
    assert text[7] == (
        "| fashion-mnist | cwc | last | 80.50 (n=2) | 80.50 (n=2) | +0.00 | - | identical | 1.000 | - | - |"
    )
    assert text[8] == "| fashion-mnist | ff | last | 90.00 (n=1) | - | - | - | only in A | - | - | - |"
    assert text[10:] == [
        "a speed is judged only with three runs or more in all and with a second run of A, the A/A ratio  "
    ]


def test_csv_and_json_hold_the_raw_figures():
    table = three_rows()
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    rows = json.loads(render(table, "json"))
    assert [line["verdict"] for line in lines] == [row["verdict"] for row in rows] == [row.verdict for row in table]
    assert float(lines[0]["difference"]) == rows[0]["difference"] == table[0].difference
    assert lines[2]["mean_b"] == ""
    assert rows[2]["mean_b"] is None


def test_a_note_stands_once_with_the_rows_that_it_holds_for():
    made = record(accuracies={"last": 90.0, "best": 91.0})
    [first, second] = compare.comparisons(Found([timed(made, 50.0, noisy=True)]), Found([made]))
    assert rendering.notes([first, second]) == [
        "fashion-mnist asge/last, best: timing is noisy, the machine was busy: A seed 0"
    ]
    assert "timing is noisy" in render([first, second], "rich")
