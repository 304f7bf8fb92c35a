"""Which files of the repository the site has, and its navigation.

The site keeps the repository's folders, so that a link between two files leads to the same place in both. A page that
is added to docs/ or docs/results/ joins by itself, a module by a line in mkdocs.yml.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PROJECT = ["CONTRIBUTING.md", "CHANGELOG.md", "docs/releasing.md"]
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#:\s]+)(?=[)#])")
"""The target of a link to a file, without an anchor."""
ELSEWHERE = re.compile(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)="(https?://[^"]+)""")
LOG = get_plugin_logger("hooks")


def _markdown(folder: str) -> list[str]:
    """The pages of a folder: an overview first, then in the order in which README names them, then by name."""
    order = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("*.md"))
    pages = [page for page in pages if page not in PROJECT]
    return sorted(pages, key=lambda page: (not page.endswith("README.md"), order.find(page) % (len(order) + 1)))


def _api(config: MkDocsConfig) -> dict[str, str]:
    """The pages of the API, as Markdown by path."""
    pages = {}
    for package, what in config.extra["api"].items():
        parts = [f"# {package}"]
        for module in _modules(package) if what == "modules" else [package]:
            of_package = what == "modules" and (ROOT / module.replace(".", "/")).is_dir()
            parts.append(f"::: {module}" + ("\n    options: {members: false}" if of_package else ""))
        pages[f"docs/api/{package}.md"] = "\n\n".join(parts)
    return pages


def _modules(package: str) -> list[str]:
    """A package and all modules below it; a package's own text comes first."""
    files = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return sorted(name for name in names if "._" not in name)


def on_config(config: MkDocsConfig) -> None:
    """Navigation over all pages."""
    project = [*(page for page in PROJECT if (ROOT / page).is_file()), "results/README.md"]
    parts = {
        "Guide": _markdown("docs"),
        "Results": _markdown("docs/results"),
        "API": [{Path(page).stem: page} for page in _api(config)],
        "Project": project,
    }
    config.nav = ["README.md", *({name: pages} for name, pages in parts.items() if pages)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """All pages, and the files that they show or link to."""
    pages = [Path("README.md"), Path("results/README.md"), *map(Path, PROJECT)]
    pages += [Path(page) for folder in ("docs", "docs/results") for page in _markdown(folder)]
    found = {page for page in pages if (ROOT / page).is_file()}
    for page in sorted(found):
        for link in LINK.finditer((ROOT / page).read_text(encoding="utf-8")):
            target = (ROOT / page.parent / link["target"]).resolve()
            if target.is_file() and target.is_relative_to(ROOT) and target.suffix != ".md":
                found.add(target.relative_to(ROOT))
    for path in sorted(found):
        files.append(File.generated(config, path.as_posix(), abs_src_path=str(ROOT / path)))
    for path, text in _api(config).items():
        files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to folders to their README, or to their page of the API."""
    here = ROOT / Path(page.file.src_uri).parent

    def led(link: re.Match[str]) -> str:
        target = link["target"].rstrip("/")
        if not (here / target).is_dir():
            return link["target"]
        folder = (here / target).resolve().relative_to(ROOT).as_posix()
        module = f"docs/api/{folder.replace('/', '.')}.md"
        if module in _api(config):
            up = "../" * (len(Path(page.file.src_uri).parts) - 1)
            return f"{up}{module}"
        return f"{target}/README.md"

    return LINK.sub(led, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of what a reader's browser would load from elsewhere."""
    for loaded in ELSEWHERE.findall(output):
        LOG.warning("%s loads %s from elsewhere", page.file.src_uri, loaded)
    return output
