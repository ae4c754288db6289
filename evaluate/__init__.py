"""Scoring of checkpoints and saved maps: metrics, crops, protocols, the mean-depth baseline, figures, result files."""

from .baseline import mean_depth_map
from .boundary import REGIONS, boundary_regions
from .crops import CROPS, crop_mask
from .evaluation import evaluate_checkpoint, evaluate_saved, scored_split
from .figures import PredictionRow, error_figure, prediction_figure
from .inference import predict, validate
from .metrics import METRICS, depth_metrics, region_metrics
from .protocol import EvaluateSettings, Protocol
from .report import ERRORS, FIGURE, REPORT, write_report
from .result_files import NUMBERS, PER_IMAGE, PER_SCENE, RESULTS, read_results, write_results
from .results import BackboneFacts, CheckpointFacts, Results, Row, SavedMapsFacts
from .scoring import DepthMaps, ImageScore, Scorer, Scores, score
from .tables import results_tables
from .truths import GroundTruth, read_truths

__all__ = [
    "CROPS",
    "ERRORS",
    "FIGURE",
    "METRICS",
    "NUMBERS",
    "PER_IMAGE",
    "PER_SCENE",
    "REGIONS",
    "REPORT",
    "RESULTS",
    "BackboneFacts",
    "CheckpointFacts",
    "DepthMaps",
    "EvaluateSettings",
    "GroundTruth",
    "ImageScore",
    "PredictionRow",
    "Protocol",
    "Results",
    "Row",
    "SavedMapsFacts",
    "Scorer",
    "Scores",
    "boundary_regions",
    "crop_mask",
    "depth_metrics",
    "error_figure",
    "evaluate_checkpoint",
    "evaluate_saved",
    "mean_depth_map",
    "predict",
    "prediction_figure",
    "read_results",
    "read_truths",
    "region_metrics",
    "results_tables",
    "score",
    "scored_split",
    "validate",
    "write_report",
    "write_results",
]
