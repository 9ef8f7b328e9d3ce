"""Evaluation of a model on labelled images, reports of its mistakes, and comparison with another model.

    from ghostclas import load
    from ghostclas.data import open_source
    from ghostclas.evaluation import evaluate, write_report

    evaluation = evaluate(load("runs/flowers"), open_source("photos"))
    print(evaluation.top1)
    write_report(evaluation, "report")

``metrics``, ``calibration`` and ``summary`` compute the figures, as pure functions over logits and labels.
"""

from ghostclas.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    TemperatureFit,
    cross_recalibrate,
    fit_temperature,
    recalibrate,
)
from ghostclas.evaluation.comparison import (
    ClassChange,
    Comparison,
    compare,
    compare_evaluations,
    mcnemar,
    open_both,
)
from ghostclas.evaluation.evaluation import (
    BadImage,
    Evaluation,
    check_writable,
    dataset_name,
    evaluate,
    store_temperature,
)
from ghostclas.evaluation.metrics import ClassMetrics, Confusion, topk_accuracy
from ghostclas.evaluation.report import Learned, check_report, most_similar, write_comparison, write_report
from ghostclas.evaluation.summary import Summary, summarize
from ghostclas.evaluation.unknown import (
    ScoreFit,
    UnknownFit,
    fit_scores,
    fit_unknown,
    remove_unknown,
    store_scores,
    store_unknown,
)
from ghostclas.evaluation.unseen import unseen_part

__all__ = [
    "BadImage",
    "Calibration",
    "ClassChange",
    "ClassMetrics",
    "Comparison",
    "Confusion",
    "Evaluation",
    "Learned",
    "ReliabilityBin",
    "ScoreFit",
    "Summary",
    "TemperatureFit",
    "UnknownFit",
    "check_report",
    "check_writable",
    "compare",
    "compare_evaluations",
    "cross_recalibrate",
    "dataset_name",
    "evaluate",
    "fit_scores",
    "fit_temperature",
    "fit_unknown",
    "mcnemar",
    "most_similar",
    "open_both",
    "recalibrate",
    "remove_unknown",
    "store_scores",
    "store_temperature",
    "store_unknown",
    "summarize",
    "topk_accuracy",
    "unseen_part",
    "write_comparison",
    "write_report",
]
