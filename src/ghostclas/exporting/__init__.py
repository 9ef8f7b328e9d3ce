"""Bundles and their files, made from trained networks (needs torch): one file per format.

``onnx`` makes a bundle; ``formats`` has the table of what can be added to one and adds it; ``model`` does
both for whatever ``--model`` means.
"""
