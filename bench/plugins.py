"""Everything that methods, tasks, figures and watchers of other packages need, in one place.

A method is found through the entry-point group ``bench.methods``, a task through ``bench.tasks``, a figure through
``bench.figures``, a watcher of runs through ``bench.watchers``. Names here stay; the modules they come from may change.

    methods     the protocols Method and Learner; the other protocols are optional
                            TaskShape, TrainingBudget: arguments of ``build``; Examination: result of ``examine``
    settings    Neutral, Range and Choice, annotations of a setting
    training    ScheduledOptimiser, OptimiserSettings and the types of its settings: those of this project's methods
    tasks       Task, Arrays, Split; DataFile and Fetcher for files that are fetched and verified
    figures     FigureRuns, the argument of a figure; Record and its parts
    watchers    Watcher, what happens to cells while they run; Outcome, how each of them ended
    errors      UserError: one sentence about invalid input; LoaderError: data that cannot be read
"""

from asge.common.marks import Choice, Range
from asge.common.optimisers import (
    LearningRate,
    Momentum,
    OptimiserSetting,
    OptimiserSettings,
    ScheduledOptimiser,
    ScheduleSetting,
    WeightDecay,
)
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget
from bench.data.sets.arrays import Arrays
from bench.data.sets.fetchers import Fetcher
from bench.data.sets.files import DataFile
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError, UserError
from bench.methods.contract import (
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
)
from bench.records import CellSpec, EpochRecord, Record, StrategyRecord, TrainingRecord
from bench.report.figures.drawing import Runs as FigureRuns
from bench.running.local import Outcome, Watcher

__all__ = [
    "Arrays",
    "Beginner",
    "CellSpec",
    "Choice",
    "ChoosesLayer",
    "Compilable",
    "Conditional",
    "DataFile",
    "EpochRecord",
    "Examinable",
    "Examination",
    "Fetcher",
    "FigureRuns",
    "Goodness",
    "Inspectable",
    "Learner",
    "LearningRate",
    "LoaderError",
    "Method",
    "Momentum",
    "Neutral",
    "Observable",
    "OptimiserSetting",
    "OptimiserSettings",
    "Outcome",
    "PerLayer",
    "Range",
    "Record",
    "ScheduleSetting",
    "ScheduledOptimiser",
    "Split",
    "StrategyRecord",
    "Task",
    "TaskShape",
    "TrainingBudget",
    "TrainingRecord",
    "UserError",
    "Watcher",
    "WeightDecay",
]
