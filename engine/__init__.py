"""engine: the experiment: sweeps, run directories, the structured log and the command line.

Who is who::

    engine       Engine: command line, run directory, log; calls init and run of a script
    sweep        sweep, ParamSweeper: what is to be measured, and what was
    rundir       RunDirectory: one run, one directory (run.yaml, log.jsonl, outputs/, sweep/)
    logfile      reading log.jsonl back
    cli          the command ``regisseur``

The names are those of Execo's third module; ``from regisseur.engine import *``
works. Importing starts nothing.
"""

from .engine import Engine
from .execo_store import import_execo_store
from .log import logger
from .logfile import LogError, LogRecord, TornLine, format_record, read_log
from .progress import SweepProgress
from .rundir import RunDirectory, RunDirectoryError, RunDirectoryInUseError
from .sweep import (
    CombinationSet,
    CombinationStatus,
    ExecoImportError,
    ExecoStoreError,
    HashableDict,
    ParamSweeper,
    SweepSpace,
    SweepStoreBusyError,
    SweepStoreCorruptError,
    SweepStoreError,
    SweepStoreMissingError,
    SweepStoreVersionError,
    SweepView,
    geom,
    igeom,
    sweep,
    sweep_sample,
    sweep_stats,
)
from .utils import copy_outputs, redirect_outputs, slugify

__all__ = [
    "CombinationSet",
    "CombinationStatus",
    "Engine",
    "ExecoImportError",
    "ExecoStoreError",
    "HashableDict",
    "LogError",
    "LogRecord",
    "ParamSweeper",
    "RunDirectory",
    "RunDirectoryError",
    "RunDirectoryInUseError",
    "SweepProgress",
    "SweepSpace",
    "SweepStoreBusyError",
    "SweepStoreCorruptError",
    "SweepStoreError",
    "SweepStoreMissingError",
    "SweepStoreVersionError",
    "SweepView",
    "TornLine",
    "copy_outputs",
    "format_record",
    "geom",
    "igeom",
    "import_execo_store",
    "logger",
    "read_log",
    "redirect_outputs",
    "slugify",
    "sweep",
    "sweep_sample",
    "sweep_stats",
]
