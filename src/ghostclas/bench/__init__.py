"""Measurements that another person gets too: latency, throughput, cold start, memory, size, accuracy.

    results = measure(find_cases([("default", bundle)])[0], Settings())
    write_report(results, "bench")

``ghostclas.bench.run`` measures, ``report`` and ``plots`` show, ``diff`` compares two measurements, and
``recommend`` chooses. What makes the figures honest is in ``timer`` (everything that is compared is timed in
turn, in an order that changes) and ``noise`` (one graph is timed twice as if it were two).
"""
