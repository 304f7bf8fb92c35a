import pytest
from command_line import command_line


@pytest.fixture
def bench(tmp_path):
    """Runs the command line in a folder that holds `mine.toml` and nothing of the user's."""
    return command_line(tmp_path)
