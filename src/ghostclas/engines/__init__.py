"""Runtimes: one file each behind one contract, the table that lists them, and the choice among them."""

from ghostclas.engines.choice import open_engine
from ghostclas.engines.contract import Engine
from ghostclas.engines.table import ENGINES, Runtime, installed_engines

__all__ = ["ENGINES", "Engine", "Runtime", "installed_engines", "open_engine"]
