"""Serving: REST, gRPC and bRPC on one bundle, under load and under attack."""

from __future__ import annotations

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.service import Answer, Request, ServedModel, Service
from ghostclas.serve.settings import Settings
from ghostclas.serve.starting import serve

__all__ = [
    "Answer",
    "Kind",
    "Limits",
    "Request",
    "ServeError",
    "ServedModel",
    "Service",
    "Settings",
    "serve",
]
