"""Networks (needs torch): layers, families, the registry, and readers of published weights."""

from ghostclas.models.registry import create_model

__all__ = ["create_model"]
