"""Tables in LaTeX, against files written by hand."""

import pytest
from factories import record

from bench.cli import table as command
from bench.cli.options import TableFormat
from bench.records import Found
from bench.report import latex, rows

# With two seeds, half the interval is t(97.5 %, 1) = 12.706 times half their distance.
ROWS = r"""% fashion-mnist: test accuracy of the last epoch, mean and half width of the 95 % interval over seeds
\begin{tabular}{l l S[table-format=2.2(3)] S[table-format=2] S[table-format=1.1] S[table-format=1.2]}
\toprule
method & strategy & {accuracy (\%)} & {img/s} & {live MiB} & {parameters (M)} \\
\midrule
asge gating\_where=block alpha=1.0 & last & 90.50 +- 6.35 & 50 & 0.5 & 0.00 \\
asge gating\_where=block alpha=1.0 & best & 91.10 +- 1.27 & 50 & 0.5 & 0.00 \\
asge gating\_where=every alpha=2.0 & last & 80.00 & 50 & 0.5 & 0.00 \\
\bottomrule
\end{tabular}
"""
ACCURACIES = r"""% fashion-mnist: test accuracy of the last epoch, mean and half width of the 95 % interval over seeds
\begin{tabular}{l S[table-format=2.2(2)] S[table-format=2.2(3)]}
\toprule
method & {last} & {best} \\
\midrule
asge & \bfseries 90.10 +- 0.25 & 91.00 +- 2.48 \\
cwc & 86.00 & {--} \\
ff & 85.10 +- 0.25 & 91.10 +- 0.25 \\
\bottomrule
\end{tabular}
"""


def test_rows_as_written_by_hand():
    one = {"alpha": 1.0, "gating_where": "block"}
    made = [
        record(seed=0, accuracies={"last": 90.0, "best": 91.0}, settings=one),
        record(seed=1, accuracies={"last": 91.0, "best": 91.2}, settings=one),
        record(seed=0, accuracies={"last": 80.0}, settings={"alpha": 2.0, "gating_where": "every"}),
        record("cwc", status="diverged"),
    ]
    assert latex.of_rows(rows.make(Found(made))) == ROWS


def test_only_what_is_clearly_best_is_bold():
    """Three seeds: t(97.5 %, 2) = 4.303, deviation 0.1 or 1, root of 3."""
    made = [
        record(method, seed=seed, accuracies={"last": last, "best": best})
        for method, values in {
            "asge": [(90.0, 90.0), (90.1, 91.0), (90.2, 92.0)],
            "ff": [(85.0, 91.0), (85.1, 91.1), (85.2, 91.2)],
        }.items()
        for seed, (last, best) in enumerate(values)
    ]
    assert latex.of_accuracies(rows.make(Found([*made, record("cwc", accuracies={"last": 86.0})]))) == ACCURACIES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("{x}$#", r"\{x\}\$\#"),
        ("a\\b^~", r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}"),
    ],
)
def test_special_characters_are_escaped(text, expected):
    assert latex.escaped(text) == expected


def test_the_command_prints_it(tmp_path, capsys):
    made = record()
    (tmp_path / made.id).mkdir()
    (tmp_path / made.id / "record.json").write_text(made.model_dump_json())
    for accuracies in (False, True):
        command.table(tmp_path, form=TableFormat.LATEX, accuracies=accuracies)
        out = capsys.readouterr().out
        assert out.count(r"\begin{tabular}") == out.count(r"\end{tabular}") == 1
        assert out.count("{") == out.count("}")
