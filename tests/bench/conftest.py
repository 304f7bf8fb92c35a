import os
import subprocess
import sys

import pytest
from command_line import SUITE


@pytest.fixture
def bench(tmp_path):
    """Runs the command line in a folder that holds `mine.toml` and nothing of the user's."""
    (tmp_path / "mine.toml").write_text(SUITE)
    environment = {
        **os.environ,
        "BENCH_CACHE": str(tmp_path / "cache"),
        "BENCH_REFERENCE": str(tmp_path / "reference"),
        "COLUMNS": "200",
    }
    environment.pop("BENCH_DATA", None)

    def run(*arguments, **changes):
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    run.folder = tmp_path
    run.environment = environment
    return run
