"""Scoring of checkpoints: metrics, crops, protocols, the mean-depth baseline, figures and result files."""

from .baseline import mean_depth_map, predict_mean_depth
from .crops import CROPS, crop_mask
from .figures import PredictionRow, error_figure, prediction_figure
from .inference import predict, validate
from .metrics import METRICS, depth_metrics
from .protocol import EvaluateSettings, Protocol
from .results import RESULTS, BackboneFacts, CheckpointFacts, Results, read_results, results_table, write_results
from .run import ERRORS, FIGURE, evaluate_checkpoint, protocol_name
from .scoring import ImageScore, Prediction, Scores, score, score_image

__all__ = [
    "CROPS",
    "ERRORS",
    "FIGURE",
    "METRICS",
    "RESULTS",
    "BackboneFacts",
    "CheckpointFacts",
    "EvaluateSettings",
    "ImageScore",
    "Prediction",
    "PredictionRow",
    "Protocol",
    "Results",
    "Scores",
    "crop_mask",
    "depth_metrics",
    "error_figure",
    "evaluate_checkpoint",
    "mean_depth_map",
    "predict",
    "predict_mean_depth",
    "prediction_figure",
    "protocol_name",
    "read_results",
    "results_table",
    "score",
    "score_image",
    "validate",
    "write_results",
]
