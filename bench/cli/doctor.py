"""``bench doctor``."""

from __future__ import annotations

from bench.cli.options import FormatOption, OutputFormat


def doctor(form: FormatOption = OutputFormat.RICH) -> None:
    """Show what is installed, what is missing, and how to get it."""
    from rich.console import Console

    from bench import tables
    from bench.running.doctor import examine

    lines = [[finding.what, finding.state, finding.advice] for finding in examine()]
    tables.render("Doctor", ["what", "state", "advice"], lines, form.value, Console())
