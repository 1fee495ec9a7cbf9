"""Importing MODULE. usage: MODULE"""

import importlib
import sys

from measure import Measure

with Measure():
    importlib.import_module(sys.argv[1])
