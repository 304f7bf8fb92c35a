"""Dependencies point one way: the harness imports both libraries, the baselines import ASGE; packages are layered."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from bench import methods

ROOT = Path(__file__).parents[1]
LAYERS = (
    {"errors", "seeds", "statistics", "tables", "__init__"},
    {"registry"},
    {"inputs", "methods", "options"},
    {"data", "records"},
    {"measure", "suites"},
    {"reference"},
    {"compare", "running"},
    {"cluster", "report"},
    {"api", "plugins", "studies", "tuning"},
    {"testing"},
    {"cli"},
    {"__main__"},
)
"""The rooms of bench/, from the bottom; each imports only from those below its own row. As in docs/architecture.md."""
NAMES_METHODS = {
    "bench/records/sources.py",  # the package of that name
    "bench/studies/robustness.py",
    "bench/studies/segmentation.py",
}
"""Modules in which the key of a method stands: studies that are about gated networks, and no other of the harness."""


def imported(file):
    """The modules that a file imports, anywhere in it; of `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module):
    """The room of bench/ in which a module lies."""
    return module.split(".")[1] if "." in module else "__init__"


def rooms():
    """The rooms as they are on disk, each with its files."""
    found = {}
    for file in (ROOT / "bench").rglob("*.py"):
        inside = file.relative_to(ROOT / "bench")
        found.setdefault(inside.parts[0] if len(inside.parts) > 1 else inside.stem, []).append(file)
    return found


@pytest.mark.parametrize(("package", "foreign"), [("asge", {"baselines", "bench"}), ("baselines", {"bench"})])
def test_the_libraries_do_not_know_what_is_built_on_them(package, foreign):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    tops = {file.name: {module.partition(".")[0] for module in imported(file)} for file in files}
    assert {name: found for name, modules in tops.items() if (found := foreign & modules)} == {}


def test_every_room_has_its_place_in_the_order():
    assert set(rooms()) <= set().union(*LAYERS)


def test_no_room_imports_from_one_beside_or_above_it():
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    upward = []
    for name, files in rooms().items():
        for file in files:
            known = {room(module) for module in imported(file) if module.partition(".")[0] == "bench"} & set(level)
            # `from bench import run` reaches through the package's own __init__, which imports on first use only.
            others = known - {name, "__init__"}
            too_high = [other for other in others if level[other] >= level[name] and name != "__init__"]
            upward += [f"{file.relative_to(ROOT)} imports {other}" for other in too_high]
    assert upward == []


@pytest.mark.parametrize("reader", ["records", "compare", "report"])
def test_what_reads_records_asks_no_method(reader):
    """Records describe their methods: their readers import neither the contract nor what methods are made of."""
    live = {"asge", "baselines", "torch", "bench.methods", "bench.suites", "bench.running", "bench.measure"}
    found = {
        str(file.relative_to(ROOT)): asked
        for file in rooms()[reader]
        if (asked := {m for m in imported(file) if any(m == other or m.startswith(f"{other}.") for other in live)})
    }
    assert found == {}


@pytest.mark.parametrize(
    "command",
    [
        ["table", "results/quick"],
        ["compare", "results/tuning-start", "results/tuning-tuned"],
        ["plot", "results/quick", "--out", "{out}"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_only_reads_records_does_not_wait_for_pytorch(command, tmp_path):
    program = "import sys; from bench.cli.app import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    arguments = [part.format(out=tmp_path) for part in command]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & {"torch", "asge", "baselines"} == set()


def test_loading_records_from_python_does_not_wait_for_pytorch():
    program = "import bench, sys; bench.load('results/quick').frame(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} & {"torch", "asge", "baselines"} == set()


def test_the_public_package_imports_nothing_heavy_before_it_is_used():
    tree = ast.parse((ROOT / "bench" / "__init__.py").read_text())
    tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in tops} == {
        "__future__", "importlib", "importlib.metadata", "typing",
    }  # fmt: skip


def test_the_harness_knows_no_method_by_name():
    names = set(methods.names())
    known = {}
    for file in (ROOT / "bench").rglob("*.py"):
        path = str(file.relative_to(ROOT))
        words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        if (found := names & {word for word in words if isinstance(word, str)}) and path not in NAMES_METHODS:
            known[path] = found
    assert known == {}


def test_no_module_is_so_short_that_it_only_costs_a_look():
    """Packages' own files, commands and short names that documentation promises are short for a reason."""
    reasons = {"bench/__main__.py", "bench/seeds.py", "asge/pooling.py", "asge/gating.py"}
    short = {
        path
        for package in ("asge", "baselines", "bench")
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
        and not (path := str(file.relative_to(ROOT))).startswith("bench/cli/")
        and len(file.read_text().splitlines()) < 25
    }
    assert short - reasons == set()
