"""Networks (needs torch): layers, one module for each family, and transformations of trained networks."""

from ghostclas.models.registry import create_model

__all__ = ["create_model"]
