"""Methods: their contract, how they are found, and their settings.

contract    the protocols of a method and its learner, including optional ones
settings    reads and checks settings, and brings them into canonical form
"""

from bench.methods.contract import (
    GROUP,
    Beginner,
    ChoosesLayer,
    Compilable,
    Conditional,
    Examinable,
    Goodness,
    Inspectable,
    Learner,
    Method,
    Observable,
    PerLayer,
    about,
    between,
    family,
    get,
    names,
    optimiser,
    published_rows,
    strategies,
)

__all__ = [
    "GROUP",
    "Beginner",
    "ChoosesLayer",
    "Compilable",
    "Conditional",
    "Examinable",
    "Goodness",
    "Inspectable",
    "Learner",
    "Method",
    "Observable",
    "PerLayer",
    "about",
    "between",
    "family",
    "get",
    "names",
    "optimiser",
    "published_rows",
    "strategies",
]
