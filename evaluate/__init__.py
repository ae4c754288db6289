"""Scoring of checkpoints and saved maps: metrics, crops, protocols, baselines, figures, result files."""

from .baselines import image_free_depths
from .boundary import REGIONS, boundary_regions
from .breakdown import Breakdown
from .checkpoints import evaluate_checkpoint, evaluate_checkpoints
from .crops import CROPS, crop_mask
from .csv_text import csv_text
from .evaluation import Evaluation, scored_split
from .examples import SHOWN, Example, Examples, find_examples, loader, ranked
from .facts import BackboneFacts, CheckpointFacts, SavedMapsFacts
from .figure_files import write_figures
from .figures import error_figure, prediction_figure
from .finished import finished_examples, scored_once
from .inference import decode, predict
from .kept_baselines import KeptDepths
from .latex import latex_file, latex_table, latex_text
from .markdown import markdown_table
from .metrics import METRIC_LABELS, METRICS, better, depth_metrics, region_metrics
from .panels import DEPTH_COLOURS, DepthScale
from .pictures import coloured
from .probing import (
    STRENGTHS,
    FeatureViews,
    ProbeResults,
    named_rows,
    probe_csv,
    probe_figure,
    probe_layers,
    probe_markdown,
    ranked_views,
    spread_rows,
    views_figure,
)
from .protocol import EvaluateSettings, Protocol, reads_settings, split_of
from .report import run_page
from .result_files import ERRORS, FIGURE, NUMBERS, PER_IMAGE, PER_SCENE, REPORT, RESULTS, read_results, write_results
from .results import DATA_NAMES, WITHOUT_AN_IMAGE, Results, Row, best_baselines, no_better
from .saved_maps import SavedMaps, evaluate_saved, write_maps
from .scoring import DepthMaps, ImageScore, Scorer, Scores, score, valid_pixels
from .tables import results_tables
from .text import printable
from .truths import GroundTruth, SourceTruth, read_truths, samples_digest
from .validation import validate
from .validation_figure import shown_rows, validation_figure

__all__ = [
    "CROPS",
    "DATA_NAMES",
    "DEPTH_COLOURS",
    "ERRORS",
    "FIGURE",
    "METRICS",
    "METRIC_LABELS",
    "NUMBERS",
    "PER_IMAGE",
    "PER_SCENE",
    "REGIONS",
    "REPORT",
    "RESULTS",
    "SHOWN",
    "STRENGTHS",
    "WITHOUT_AN_IMAGE",
    "BackboneFacts",
    "Breakdown",
    "CheckpointFacts",
    "DepthMaps",
    "DepthScale",
    "EvaluateSettings",
    "Evaluation",
    "Example",
    "Examples",
    "FeatureViews",
    "GroundTruth",
    "ImageScore",
    "KeptDepths",
    "ProbeResults",
    "Protocol",
    "Results",
    "Row",
    "SavedMaps",
    "SavedMapsFacts",
    "Scorer",
    "Scores",
    "SourceTruth",
    "best_baselines",
    "better",
    "boundary_regions",
    "coloured",
    "crop_mask",
    "csv_text",
    "decode",
    "depth_metrics",
    "error_figure",
    "evaluate_checkpoint",
    "evaluate_checkpoints",
    "evaluate_saved",
    "find_examples",
    "finished_examples",
    "image_free_depths",
    "latex_file",
    "latex_table",
    "latex_text",
    "loader",
    "markdown_table",
    "named_rows",
    "no_better",
    "predict",
    "prediction_figure",
    "printable",
    "probe_csv",
    "probe_figure",
    "probe_layers",
    "probe_markdown",
    "ranked",
    "ranked_views",
    "read_results",
    "read_truths",
    "reads_settings",
    "region_metrics",
    "results_tables",
    "run_page",
    "samples_digest",
    "score",
    "scored_once",
    "scored_split",
    "shown_rows",
    "split_of",
    "spread_rows",
    "valid_pixels",
    "validate",
    "validation_figure",
    "views_figure",
    "write_figures",
    "write_maps",
    "write_results",
]
