"""The pieces of ``benchmarks/fuzz.py``: what is read, how it is damaged, and the processes that try it."""
