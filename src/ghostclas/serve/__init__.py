"""Serving: REST, gRPC and bRPC on one bundle, under load and under attack."""

from __future__ import annotations

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.service import Answer, Request, ServedModel, Service

__all__ = ["Answer", "Kind", "Limits", "Request", "ServeError", "ServedModel", "Service"]
