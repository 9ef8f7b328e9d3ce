"""Readers of published weights and foreign models."""
