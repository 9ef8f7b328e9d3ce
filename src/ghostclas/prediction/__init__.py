"""Prediction: the classifier, its answers, the search for photos, and what is made of the results."""

from ghostclas.prediction.answers import to_predictions
from ghostclas.prediction.classifier import Classifier
from ghostclas.prediction.gallery import Gallery, check_gallery
from ghostclas.prediction.photos import count_images, find_images, read_list
from ghostclas.prediction.results import PredictionFiles
from ghostclas.prediction.sorting import Sorting, Undoing, check_sorting, sort_photos, undo_sorting

__all__ = [
    "Classifier",
    "Gallery",
    "PredictionFiles",
    "Sorting",
    "Undoing",
    "check_gallery",
    "check_sorting",
    "count_images",
    "find_images",
    "read_list",
    "sort_photos",
    "to_predictions",
    "undo_sorting",
]
