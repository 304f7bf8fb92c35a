"""A benchmark and reproducibility harness for local learning."""

from importlib.metadata import version

__version__ = version("local-learning-bench")
