"""Reproducible measurements: latency, throughput, cold start, memory, size, accuracy.

    from ghostclas import Bundle
    from ghostclas.bench.cases import find_cases
    from ghostclas.bench.report import write_report
    from ghostclas.bench.results import Settings
    from ghostclas.bench.run import measure

    cases, _ = find_cases([("mine", Bundle.open("runs/flowers/bundle"))], engines=["onnxruntime"])
    results = measure(cases, Settings(threads=(1,), batches=(1,), rounds=3, cold_starts=0, passes=0))
    write_report(results, "bench")

``ghostclas.bench.run`` measures, ``report`` and ``charts`` present, ``diff`` compares two measurements, and
``recommend`` chooses. ``ghostclas.timing`` interleaves all compared cases, in a random order. ``noise`` times
one graph twice, as if it were two.
"""
