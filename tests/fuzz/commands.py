"""Give the commands broken input: each has to answer with an exit status and, if the input is bad, one sentence.

    python tests/fuzz/commands.py                           1,000 cases, in a few minutes
    python tests/fuzz/commands.py --cases 50 --seed 7       others
    python tests/fuzz/commands.py --only 132                one of them again, with what it printed

A case is a folder with a suite, records, references, a page and a search space, one of them broken at random, and a
command that reads it; or a command with broken arguments. Equal seeds make equal cases. Nothing is trained or
downloaded: what would, is refused as if the input were bad.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from factories import record, relative

from bench import records, suites
from bench.cli import app as cli
from bench.errors import UserError
from bench.options import RunOptions
from bench.records import claims, worklists
from bench.reference import update
from bench.reference.measured import path_of
from bench.running import local, rehearsal
from bench.tuning import tune

STATUSES = {0, 1, 2, 3, 4, 130}
SECONDS = 30
"""Longest that a case may take."""
ADDRESS_SPACE = 16 * 2**30
"""Bytes of addresses for all cases together: a number that is taken seriously shall not take the machine."""

SUITE = """description = "A suite to break"
tasks = ["digits"]
seeds = 2
epochs = 3
batch_size = 64
augmentation = ["flip"]
train_samples = 500
loader = "memory"
threads = 1
yardstick = "backprop"
resolutions = [[1, 8]]

[methods.asge]
plan = "4,M,8"
affine = false

[methods.backprop]
plan = "4,M,8"
learning_rate = 1e-2

[sweep.asge]
alpha = [0.5, 1.0]

[epochs_of]
"asge alpha=0.5" = 2

[threads_of]
asge = 1

[tuning.asge]
study = "asge-digits"
trial = 3
seeds = [0, 1]
validation = [90.0, 91.0]
trials = 20
epochs = 10
seconds = 100.0
commit = "abc"
exported = "2026-01-01"
"""
BEGUN = """tasks = ["digits"]
epochs = 2
resolutions = [[1, 8]]
packing = "jpeg,share=0.5"

[methods.backprop]
plan = "4,M,8"

[start]
method = "backprop"
epochs = 1
settings = { plan = "4,M,8", learning_rate = 0.1 }
"""
SPACE = """[asge]
alpha = "0.1..1"
learning_rate = "1e-4..1e-1:log"
affine = "true|false"
plan = "4,M,8|8,M,16"
"""
PAGE = """# A page

<!-- table: runs -->
<!-- end of table -->

<!-- accuracies: runs -->
old
<!-- end of table -->

<!-- differences: runs other -->
<!-- end of table -->

<!-- study: study -->
<!-- end of table -->
"""
STUDY = {"study": "one", "task": "digits", "columns": ["a", "b"], "rows": [["x", 1.5], ["y", 2]], "notes": ["a note"]}
PUBLISHED = """method,variant,dataset,metric,value,source
asge,last,digits,top1,98.5,a paper
backprop,logits,Digits,top1,99.0,another
"""

STRANGE = (
    "", " ", "é", "日本語", "\u202e", "\u0000", "\ufeff", "[red]", "[/nowhere]", "a\nb", "%s{}", "'\"\\", "x" * 5000,
    "../..",
)  # fmt: skip
"""Texts that are easily mistaken for something else."""
NUMBERS = ("-1", "0", "1e308", "-1e-308", "1e999", "1" + "0" * 30, "1" + "0" * 5000, "0.5", "18446744073709551616")
NEARLY = (
    "1..1e999", "nan..1", "2..1", "0..1:log", "1..2:0", "1..2:-1", "..", "1..", "a|", "|", "1..2:x", "1|2|", "true..2",
    "jpeg,share=nan", "jpeg,share=2", "raw,side=0", "jpeg,quality=1e9", "jpeg,jpeg", "crop", "torch", "cuda:99",
    "cuda:-1", "asge", "asge alpha=2", "asge alpha", "backprop plan=", "ff", "mnist", "4,M,8,M,M,M,M", "M", "4,,8",
    "-4", "4x", "best",
)  # fmt: skip
"""Texts that are valid somewhere, or nearly."""
DEPTHS = (3, 150, 900, 5000, 200_000)


@dataclass(frozen=True)
class Case:
    """What was broken, and the command's arguments."""

    what: str
    arguments: list[str]


@dataclass(frozen=True)
class Answer:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


def build(folder: Path) -> None:
    """Write valid input of every kind to a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(SUITE)
    (folder / "begun.toml").write_text(BEGUN)
    (folder / "space.toml").write_text(SPACE)
    (folder / "page.md").write_text(PAGE)
    (folder / "study").mkdir()
    (folder / "study" / records.STUDY_FILE).write_text(json.dumps(STUDY))
    measured = folder / "reference" / "measured"
    measured.mkdir(parents=True)
    (folder / "reference" / "published.csv").write_text(PUBLISHED)
    expected = suites.expected(suites.load(str(folder / "suite.toml")))
    made = []
    for number, (spec, strategies) in enumerate(expected):
        race = relative(1.0 + 0.01 * number)
        plain = record(spec.method, spec.seed, dict.fromkeys(strategies, 90.0 + number), relative=race)
        made.append(plain.model_copy(update={"id": spec.id, "cell": spec}))
    for runs, part in (("runs", made), ("other", made[::2])):
        for one in part:
            (folder / runs / one.id).mkdir(parents=True)
            records.write(folder / runs / one.id / records.RECORD_FILE, one)
            records.write(folder / runs / one.id / records.CELL_FILE, one.cell)
    with _environment(folder):
        worklists.write_worklist([one.cell for one in made], RunOptions("suite", out=folder / "runs"))
    claims.take(folder / "runs" / made[0].id)
    stopped = made[-1].cell.model_copy(update={"seed": 7})
    (folder / "runs" / stopped.id).mkdir()
    records.write(folder / "runs" / stopped.id / records.CELL_FILE, stopped)
    seen = [(one.cell, strategies) for one, (_, strategies) in zip(made, expected, strict=True)]
    others = [
        one.model_copy(update={"id": cell.id, "cell": cell})
        for one in made
        for seed in (11, 12, 13)
        for cell in [one.cell.model_copy(update={"seed": seed})]
    ]
    with _environment(folder):
        update.update("suite", seen, [*made, *others], "made up", any_code=True)
        assert path_of("suite").is_file()


def case(number: int, seed: int, folder: Path) -> Case:
    """Break something in a folder that ``build`` has filled; returns what, and the command that will meet it."""
    draw = random.Random(f"{seed} {number}")
    kind = draw.choice(list(KINDS))
    return KINDS[kind](draw, folder)


def _of_record(draw: random.Random, folder: Path) -> Case:
    path = draw.choice(sorted(folder.glob("runs/*/record.json")))
    return Case(_break_json(draw, path), draw.choice(READERS_OF_RECORDS)(draw))


def _of_cell(draw: random.Random, folder: Path) -> Case:
    path = draw.choice(sorted(folder.glob("runs/*/cell.json")))
    if draw.random() < 0.5:
        (path.parent / records.RECORD_FILE).unlink(missing_ok=True)
    return Case(_break_json(draw, path), draw.choice(READERS_OF_RECORDS)(draw))


def _of_worklist(draw: random.Random, folder: Path) -> Case:
    path = draw.choice((*folder.glob("runs/worklist-*.json"), *folder.glob("runs/*/claim-*.json")))
    return Case(_break_json(draw, path), draw.choice((_status, _work))(draw))


def _of_reference(draw: random.Random, folder: Path) -> Case:
    what = _break_json(draw, folder / "reference" / "measured" / "suite.json")
    return Case(what, draw.choice((_check, _show, _update, _keep, _plan, _golden))(draw))


def _of_published(draw: random.Random, folder: Path) -> Case:
    what = _break_lines(draw, folder / "reference" / "published.csv", ",")
    return Case(what, draw.choice((_table, _fill))(draw))


def _of_suite(draw: random.Random, folder: Path) -> Case:
    what = _break_lines(draw, folder / "suite.toml", "=")
    return Case(what, draw.choice((_check, _update, _keep, _plan, _plan, _golden, _study))(draw))


def _of_begun(draw: random.Random, folder: Path) -> Case:
    return Case(_break_lines(draw, folder / "begun.toml", "="), ["run", "begun.toml", "--dry-run"])


def _of_space(draw: random.Random, folder: Path) -> Case:
    what = _break_lines(draw, folder / "space.toml", "=")
    return Case(what, ["tune", "run", "asge", "--show-space", "--space-file", "space.toml"])


def _of_page(draw: random.Random, folder: Path) -> Case:
    return Case(_break_lines(draw, folder / "page.md", ":"), _fill(draw))


def _of_study(draw: random.Random, folder: Path) -> Case:
    return Case(_break_json(draw, folder / "study" / records.STUDY_FILE), _fill(draw))


def _of_arguments(draw: random.Random, _: Path) -> Case:
    """A command with one or two arguments replaced, added or left out; NUL cannot be in an argument."""
    maker = draw.choice(
        (
            *READERS_OF_RECORDS,
            _status,
            _work,
            _submit,
            _show,
            _keep,
            _plan,
            _space,
            _golden,
            _tune,
            _study,
            _list,
            _verify,
        )
    )
    given = maker(draw)
    for _ in range(draw.randint(1, 2)):
        text = draw.choice(ARGUMENTS)(draw).replace("\0", "\ufffd")
        place = draw.randrange(1, len(given) + 1)
        if draw.random() < 0.3 and place < len(given):
            del given[place]
        elif draw.random() < 0.6 and place < len(given):
            given[place] = text
        else:
            given[place:place] = draw.choice(([text], [draw.choice(OPTIONS), text]))
    return Case("arguments", given)


KINDS: dict[str, Callable[[random.Random, Path], Case]] = {
    "record": _of_record,
    "cell": _of_cell,
    "worklist": _of_worklist,
    "reference": _of_reference,
    "published": _of_published,
    "suite": _of_suite,
    "begun": _of_begun,
    "space": _of_space,
    "page": _of_page,
    "study": _of_study,
    "arguments": _of_arguments,
}


def _table(draw: random.Random) -> list[str]:
    form = draw.choice(("rich", "markdown", "csv", "json"))
    return ["table", "runs", "--format", form, *draw.choice(([], ["--accuracies"]))]


def _plot(_: random.Random) -> list[str]:
    return ["plot", "runs", "--out", "drawn"]


def _report(_: random.Random) -> list[str]:
    return ["report", "runs", "--out", "page.html"]


def _leaderboard(draw: random.Random) -> list[str]:
    return ["leaderboard", draw.choice(("runs", "runs+other", ".")), *draw.choice(([], ["--out", "board.html"]))]


def _status(_: random.Random) -> list[str]:
    return ["status", "runs", "--format", "json"]


def _work(_: random.Random) -> list[str]:
    return ["work", "runs"]


def _simulate(_: random.Random) -> list[str]:
    return ["simulate", "suite.toml", "--runs", "runs", "--workers", "1,2", "--fail-rate", "0.1"]


def _submit(_: random.Random) -> list[str]:
    return ["submit", "suite.toml", "--out", "runs", "--unequal-budgets", "--dry-run"]


def _export(draw: random.Random) -> list[str]:
    return ["export", draw.choice(("parquet", "tensorboard")), "runs", "--out", "exported"]


def _compare(draw: random.Random) -> list[str]:
    return ["compare", *draw.choice((("runs", "other"), ("other", "runs"), ("runs", "runs")))]


def _check(_: random.Random) -> list[str]:
    return ["check", "suite.toml", "--runs", "runs", "--no-confirm", "--any-code", "--junit", "junit.xml"]


def _update(_: random.Random) -> list[str]:
    return ["reference", "update", "suite.toml", "--runs", "runs", "--any-code", "--reason", "because"]


def _keep(draw: random.Random) -> list[str]:
    return [*_update(draw), "--keep"]


def _show(_: random.Random) -> list[str]:
    return ["reference", "show", "suite"]


def _plan(_: random.Random) -> list[str]:
    return ["run", "suite.toml", "--out", "runs", "--unequal-budgets", "--dry-run"]


def _fill(_: random.Random) -> list[str]:
    return ["fill", "page.md"]


def _describe(_: random.Random) -> list[str]:
    return ["describe", "runs"]


def _space(draw: random.Random) -> list[str]:
    values = draw.choice(("0.1..1", *NEARLY))
    return ["tune", "run", "asge", "--show-space", "--space", f"asge.alpha={values}"]


def _golden(_: random.Random) -> list[str]:
    return ["golden", "suite.toml", "--threads", "1"]


def _tune(_: random.Random) -> list[str]:
    return ["tune", "asge", "digits", "--space-file", "space.toml", "--storage", "journal", "--no-plots"]


def _study(_: random.Random) -> list[str]:
    return ["study", "memory", "--set", "suite=suite.toml", "--samples", "2", "--out", "studied"]


def _list(_: random.Random) -> list[str]:
    return ["list"]


def _verify(_: random.Random) -> list[str]:
    return ["data", "verify", "digits"]


READERS_OF_RECORDS = (
    _table, _table, _plot, _report, _leaderboard, _export, _compare, _check, _update, _fill, _describe, _plan,
    _simulate, _status,
)  # fmt: skip
OPTIONS = (
    "--set", "--methods", "--tasks", "--seeds", "--first-seed", "--epochs", "--threads", "--loader", "--device",
    "--stall", "--format", "--out", "--runs", "--space", "--suite", "--data-dir", "--junit", "--none",
    "--workers", "--devices", "--time",
)  # fmt: skip


def _setting(draw: random.Random) -> str:
    keys = ("asge.alpha", "asge.plan", "asge.projection", "backprop.learning_rate", "asge.", ".alpha", "alhpa")
    key = draw.choice(keys)
    return f"{key}={_value(draw)}"


def _nowhere(draw: random.Random) -> str:
    return draw.choice(("nowhere", "suite.toml", "runs", "page.md", "/dev/null", "/proc/self/mem", "a" * 300, "."))


def _not_utf8(_: random.Random) -> str:
    return os.fsdecode(b"\xff\xfe")


ARGUMENTS: tuple[Callable[[random.Random], str], ...] = (
    _setting,
    _nowhere,
    _not_utf8,
    lambda draw: draw.choice(STRANGE),
    lambda draw: draw.choice(NEARLY),
    lambda draw: draw.choice(NUMBERS),
    lambda draw: _nested(draw, DEPTHS[:-1]),
)


def _value(draw: random.Random) -> str:
    """A value as JSON, and often as TOML."""
    return draw.choice(
        (
            lambda: draw.choice(NUMBERS),
            lambda: json.dumps(draw.choice(STRANGE), ensure_ascii=draw.random() < 0.5),
            lambda: json.dumps(draw.choice(NEARLY)),
            lambda: draw.choice(("NaN", "Infinity", "-Infinity", "nan", "inf", "true", "null", "[]", "{}")),
            lambda: draw.choice(('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"')),
            lambda: draw.choice(('"text"', "[1, 2]", '["a"]', '{"a": 1}', "[[1, 8], [1, 8]]", "2026-01-01", "[[]]")),
            lambda: _nested(draw, DEPTHS),
        )
    )()


def _nested(draw: random.Random, depths: tuple[int, ...]) -> str:
    depth = draw.choice(depths)
    opened, closed = draw.choice((("[", "]"), ('{"a":', "}"), ("{a=", "}")))
    return opened * depth + draw.choice(("", "1")) + closed * (depth if draw.random() < 0.8 else depth // 2)


def _break_json(draw: random.Random, path: Path) -> str:
    """Break a JSON file at one place, or its bytes."""
    if draw.random() < 0.25:
        return _break_bytes(draw, path)
    content = json.loads(path.read_text())
    place, holder, key = _somewhere(draw, content)
    how = draw.choice(("replace", "replace", "replace", "remove", "surplus", "twice"))
    hole, value = "what stands here instead", "null"
    if how == "remove":
        del holder[key]
    elif how == "surplus":
        content["surplus"] = hole
        value = _value(draw)
    elif how == "twice" and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = hole
        value = _value(draw)
    path.write_text(json.dumps(content, indent=1).replace(json.dumps(hole), value), encoding="utf-8")
    return f"{path.name}: {how} {place}: {value[:40]!r}"


def _somewhere(draw: random.Random, content: Any) -> tuple[str, Any, Any]:
    """A place in nested lists and dictionaries, the one that holds it, and its key or index there."""
    place: list[str] = []
    while True:
        key = draw.choice(list(content) if isinstance(content, dict) else range(len(content)))
        place.append(str(key))
        below = content[key]
        if not (isinstance(below, dict | list) and below) or draw.random() < 0.2:
            return ".".join(place), content, key
        content = below


def _break_lines(draw: random.Random, path: Path, separator: str) -> str:
    """Break a line of a text file: what follows its separator, or all of it; or the file's bytes."""
    if draw.random() < 0.25:
        return _break_bytes(draw, path)
    lines = path.read_text().split("\n")
    index = draw.choice([index for index, line in enumerate(lines) if line])
    before, found, _ = lines[index].partition(separator)
    how = draw.choice(("value", "value", "value", "remove", "surplus", "twice", "key"))
    value = _value(draw)
    if how == "value" and found:
        lines[index] = f"{before}{separator} {value}"
    elif how == "key" and found:
        lines[index] = f"{draw.choice(STRANGE)} {lines[index][len(before) :]}"
    elif how == "remove":
        del lines[index]
    elif how == "twice":
        lines.insert(index, lines[index])
    else:
        lines.insert(index, f"surplus {separator} {value}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"{path.name}: {how} {before[:40]!r}: {value[:40]!r}"


def _break_bytes(draw: random.Random, path: Path) -> str:
    """Cut a file off, empty it, put a folder in its place, or change some of its bytes."""
    content = path.read_bytes()
    start = draw.randrange(len(content))
    how = draw.choice(("cut off", "empty", "a folder", "missing", "cut out", "put in", "put in", "nested"))
    if how in ("a folder", "missing"):
        path.unlink()
        if how == "a folder":
            path.mkdir()
        return f"{path.name}: {how}"
    put = draw.choice((b"\xff\xfe", b"\x00", "\u202e".encode(), b"\xed\xa0\x80", b"\r\n", b"\xef\xbb\xbf", b"}", b'"'))
    changed = {
        "cut off": content[:start],
        "empty": b"",
        "cut out": content[:start] + content[start + draw.randint(1, 200) :],
        "put in": content[:start] + put + content[start:],
        "nested": _nested(draw, DEPTHS).encode(),
    }[how]
    path.write_bytes(changed)
    return f"{path.name}: {how} at {start}"


class TooSlow(BaseException):
    """A case took too long; no `except Exception` of a command catches it."""


def _too_slow(*_: object) -> None:
    raise TooSlow


@contextlib.contextmanager
def _no_longer_than(seconds: int | None) -> Iterator[None]:
    """Raise ``TooSlow`` after so many seconds, if any."""
    if seconds is None:
        yield
        return
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def _nothing_trained() -> Iterator[None]:
    """Refuse to train, to tune and to look for data."""

    def refuse(*_: object, **__: object) -> None:
        raise UserError("nothing is trained here")

    with (
        mock.patch.object(rehearsal, "rehearse", refuse),
        mock.patch.object(local, "run_cells", refuse),
        mock.patch.object(tune, "tune", refuse),
    ):
        yield


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Inside a folder, with nothing of the user's."""
    before, here = dict(os.environ), Path.cwd()
    os.environ.pop("BENCH_DATA", None)
    os.environ.update(BENCH_REFERENCE=str(folder / "reference"), BENCH_CACHE=str(folder / "cache"), COLUMNS="200")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def run(arguments: list[str], folder: Path, seconds: int | None = SECONDS) -> Answer:
    """Run a command in a folder, in this process, with the strict encoding of a terminal; for so many seconds."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with (
        _no_longer_than(seconds),
        _nothing_trained(),
        _environment(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        try:
            status = cli.main(arguments)
        except TooSlow:
            status = -1
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    return Answer(int(status), *said)


def problem(answer: Answer) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if answer.status == -1:
        return f"no answer within {SECONDS} s"
    if answer.status not in STATUSES:
        return f"exit status {answer.status}"
    if "Traceback" in answer.out + answer.err:
        return "a traceback"
    told = [line for line in answer.err.strip().split("\n") if not line.startswith("note: ")]
    if answer.status == 2 and not (len(told) == 1 and told[0].startswith("error: ") and len(told[0]) > len("error: ")):
        return f"exit status 2 with {len(told)} lines instead of one sentence"
    return ""


def tried(
    numbers: range, seed: int, work: Path, seconds: int | None = SECONDS
) -> Iterator[tuple[int, Case, Answer, float]]:
    """Try cases one after the other, each in a fresh copy of the valid input; yields the answers and seconds taken."""
    valid = work / "valid"
    build(valid)
    for number in numbers:
        folder = work / "case"
        shutil.copytree(valid, folder)
        made = case(number, seed, folder)
        start = time.perf_counter()
        answer = run(made.arguments, folder, seconds)
        yield number, made, answer, time.perf_counter() - start
        shutil.rmtree(folder)


def main() -> int:
    """Try the cases that the command line asks for; returns 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of a single case")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    numbers = range(given.cases) if given.only is None else range(given.only, given.only + 1)
    wrong, statuses, slowest = 0, dict.fromkeys(sorted(STATUSES), 0), (0.0, 0)
    with tempfile.TemporaryDirectory() as work:
        for number, made, answer, seconds in tried(numbers, given.seed, Path(work)):
            found = problem(answer)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            slowest = max(slowest, (seconds, number))
            if found or given.only is not None:
                wrong += bool(found)
                shown = " ".join(repr(each)[:80] for each in made.arguments)
                print(f"case {number}: {found or 'well answered'}: {made.what}\n  bench {shown}", flush=True)
                print("  " + answer.err.strip()[-1500:].replace("\n", "\n  "), flush=True)
    counts = ", ".join(f"{status}: {count}" for status, count in statuses.items() if count)
    print(f"{len(numbers)} cases, {wrong} answered wrongly; exit statuses {counts}")
    print(f"the slowest is case {slowest[1]} with {slowest[0]:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
