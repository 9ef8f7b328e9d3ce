"""From photos to labels: the classifier, its answers, finding photos and writing results."""

from ghostclas.prediction.classifier import Classifier, PredictionFiles
from ghostclas.prediction.photos import count_images, find_images

__all__ = ["Classifier", "PredictionFiles", "count_images", "find_images"]
