"""Networks (needs torch): layers, one file for each family, and what is done to a trained network."""

from ghostclas.models.registry import create_model

__all__ = ["create_model"]
