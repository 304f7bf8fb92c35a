"""Headless Chromium for tests of pages, and axe-core, which looks for what shuts people out of a page."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench.inputs import cache_root

AXE = "axe-playwright-python==0.1.8"
"""A package that has axe-core's one file in it; nothing else of it is used."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


@functools.cache
def chromium():
    """The program; installed first where BENCH_INSTALL=1 allows it, else the test is skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("BENCH_INSTALL") == "1" and os.geteuid() == 0:
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *arguments], check=True, capture_output=True, timeout=300)
        found = shutil.which("chromium")
    return found or pytest.skip("needs Chromium: as root, apt-get install chromium, or set BENCH_INSTALL=1")


@functools.cache
def axe():
    """The text of axe-core; fetched first where BENCH_INSTALL=1 allows it, else the test is skipped."""
    folder = cache_root() / "axe"
    if not list(folder.glob("*.whl")):
        if os.environ.get("BENCH_INSTALL") != "1":
            pytest.skip(f"needs axe-core: pip download --no-deps --dest {folder} {AXE}, or set BENCH_INSTALL=1")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), AXE]
        subprocess.run(command, check=True, timeout=300)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return wheel.read("axe_playwright_python/axe.min.js").decode()


def browse(file, state="", *options):
    """The page after its script ran, and what the console said."""
    done = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=5000", *options, "--dump-dom", f"file://{file}{state}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def in_page(file, program):
    """What a program that runs in a copy of the page, without the page's policy, puts into ``result``, from JSON."""
    text = Path(file).read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>", "", text)
    told = (
        "document.body.innerHTML = ''; document.body.id = 'told'; document.body.textContent = JSON.stringify(result);"
    )
    copy = Path(file).with_suffix(".copy.html")
    program = f"<script>addEventListener('load', async () => {{ let result; {program}; {told} }});</script>"
    copy.write_text(text.replace("</body>", f"{program}</body>"), encoding="utf-8")
    dom, _ = browse(copy)
    found = re.search(r'<body[^>]*id="told"[^>]*>(.*?)</body>', dom, re.DOTALL)
    assert found, "the program did not end"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def violations(file):
    """What axe-core finds wrong in a page, with every cell opened: rule, and the first element."""
    program = (
        f"{axe()}\n;"
        "document.querySelectorAll('details').forEach((each) => { each.open = true; });"
        "const found = await axe.run(document, {resultTypes: ['violations']});"
        "result = found.violations.map((each) => [each.id, each.help, each.nodes[0].html.slice(0, 300)])"
    )
    return in_page(file, program.replace("</script", "<\\/script"))
