"""``bench list``."""

from __future__ import annotations

from bench.cli.options import FormatOption, OutputFormat


def list_command(form: FormatOption = OutputFormat.RICH) -> None:
    """List methods with their settings, tasks, suites, studies, figures, watchers, loaders and augmentations."""
    from rich.console import Console

    from bench import methods, registry, studies, suites, tables
    from bench.data import loaders
    from bench.data.batches import augment
    from bench.data.sets import tasks
    from bench.methods import settings
    from bench.report import figures
    from bench.running import watchers

    lines = []
    for name in methods.names():
        defaults = settings.complete(name, {})
        text = ", ".join(f"{key}={value}" for key, value in defaults.items())
        lines.append(["method", name, f"strategies {', '.join(methods.get(name).strategies)}; {text}"])
    for name in tasks.task_names():
        task = tasks.get_task(name)
        lines.append(["task", name, f"{'x'.join(map(str, task.shape))}, {task.classes} classes"])
    for name in suites.names():
        suite = suites.load(name)
        lines.append(["suite", name, suite.description])
    lines += [["study", name, studies.get(name).description] for name in studies.names()]
    lines += [["figure", name, ""] for name in figures.every()]
    lines += [["watcher", name, ""] for name in registry.names(watchers.GROUP)]
    lines += [["loader", name, ""] for name in loaders.KINDS]
    lines += [["augmentation", name, ""] for name in augment.AUGMENTATIONS]
    tables.render("What there is", ["kind", "name", "what"], lines, form.value, Console())
