"""Labelled data sets: ImageNet from its archives, audits, perceptual hashes."""
