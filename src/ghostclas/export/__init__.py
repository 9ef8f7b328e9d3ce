"""Bundles and their files, made from trained networks (needs torch): one file per format."""
