"""Prediction: the classifier, its answers, the search for photos, and files of results."""

from ghostclas.prediction.answers import to_predictions
from ghostclas.prediction.classifier import Classifier
from ghostclas.prediction.photos import count_images, find_images, read_list
from ghostclas.prediction.results import PredictionFiles

__all__ = ["Classifier", "PredictionFiles", "count_images", "find_images", "read_list", "to_predictions"]
