"""Measure a model on labelled images, look at what it gets wrong, and compare it with another.

    evaluation = evaluate(classifier, open_source("photos"))
    print(evaluation.top1)
    write_report(evaluation, "report")

``ghostclas.evaluation.metrics`` has the figures alone, as pure functions over logits and labels.
"""

from ghostclas.evaluation.compare import ClassChange, Comparison, compare, compare_evaluations, mcnemar
from ghostclas.evaluation.evaluation import (
    BadImage,
    Evaluation,
    check_writable,
    dataset_name,
    evaluate,
    store_temperature,
)
from ghostclas.evaluation.metrics import (
    Calibration,
    ClassMetrics,
    ReliabilityBin,
    Summary,
    summarize,
    topk_accuracy,
)
from ghostclas.evaluation.report import check_report, write_comparison, write_report

__all__ = [
    "BadImage",
    "Calibration",
    "ClassChange",
    "ClassMetrics",
    "Comparison",
    "Evaluation",
    "ReliabilityBin",
    "Summary",
    "check_report",
    "check_writable",
    "compare",
    "compare_evaluations",
    "dataset_name",
    "evaluate",
    "mcnemar",
    "store_temperature",
    "summarize",
    "topk_accuracy",
    "write_comparison",
    "write_report",
]
