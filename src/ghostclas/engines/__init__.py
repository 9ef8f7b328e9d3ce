"""Runtimes: one file each, behind the contract in ``base``."""

from ghostclas.engines.base import ENGINES, Engine, installed_engines, open_engine

__all__ = ["ENGINES", "Engine", "installed_engines", "open_engine"]
