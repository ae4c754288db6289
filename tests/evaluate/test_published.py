import math
from statistics import mean, stdev

import pytest
from spaceclip.evaluate.comparison.published import published, published_columns

KITTI = """
DORN | N/A | 0.072 0.307 2.727 0.120 0.932 0.984 0.994
ASTransformer | N/A | 0.058 - 2.685 0.089 0.963 0.995 0.999
DepthFormer | N/A | 0.052 0.158 2.143 0.079 0.975 0.997 0.999
NeWCRFs | N/A | 0.052 0.155 2.129 0.079 0.974 0.997 0.999
DepthCLIP | TC-FB | 0.473 6.007 12.958 - 0.281 0.531 0.696
Hu et al. | TC-FB | 0.384 4.661 12.290 - 0.312 0.569 0.739
Auty et al. | TC-FB | 0.307 2.197 6.405 0.121 0.548 0.826 0.935
CLIP2Depth | TC-FB | 0.074 0.303 2.948 - 0.938 0.990 0.998
CaBins | TC-BU | 0.057 0.186 2.322 0.088 0.964 0.995 0.999
SPACE-CLIP | TFI-FB | 0.0901 0.4701 3.8451 0.1528 0.9088 0.9812 0.9945
SPACE-CLIP baseline | TFI-FB | 0.1165 0.7981 5.152 0.1962 0.858 0.963 0.988
SPACE-CLIP + FiLM | TFI-FB | 0.1142 0.7684 5.121 0.1941 0.862 0.964 0.988
SPACE-CLIP + structural | TFI-FB | 0.1094 0.7238 5.143 0.1911 0.870 0.966 0.989
"""
NYU = """
Make3D | N/A | 0.349 1.214 - 0.447 0.745 0.897
DORN | N/A | 0.115 0.509 0.051 0.828 0.965 0.992
ASTransformer | N/A | 0.103 0.374 0.044 0.902 0.985 0.997
DepthFormer | N/A | 0.096 0.339 0.041 0.921 0.989 0.998
NeWCRFs | N/A | 0.095 0.334 0.041 0.922 0.992 0.998
DepthCLIP | TC-FB | 0.388 1.167 0.156 0.394 0.683 0.851
Hu et al. | TC-FB | 0.347 1.049 0.140 0.428 0.732 0.898
Auty et al. | TC-FB | 0.324 0.961 0.127 0.473 0.779 0.921
CaBins | TC-BU | 0.120 0.401 0.050 0.866 0.978 0.996
SPACE-CLIP | TFI-FB | 0.1042 0.3848 0.0446 0.8958 0.9839 0.9973
SPACE-CLIP, last | TFI-FB | 0.1050 0.3885 0.0450 0.8939 0.9830 0.9972
"""
# none, early, middle, late
CONTROLLED = """
abs_rel | 0.1412 +- 0.0184 | 0.1283 +- 0.0113 | 0.1208 +- 0.0017 | 0.1230 +- 0.0020
rmse | 0.5121 +- 0.0738 | 0.4544 +- 0.0462 | 0.4355 +- 0.0080 | 0.4418 +- 0.0054
mae | 0.3842 +- 0.0631 | 0.3369 +- 0.0367 | 0.3199 +- 0.0072 | 0.3246 +- 0.0052
rmse_log | 0.1860 +- 0.0280 | 0.1650 +- 0.0170 | 0.1564 +- 0.0034 | 0.1601 +- 0.0023
delta1 | 0.7797 +- 0.0745 | 0.8325 +- 0.0389 | 0.8533 +- 0.0073 | 0.8487 +- 0.0057
delta2 | 0.9648 +- 0.0148 | 0.9755 +- 0.0074 | 0.9790 +- 0.0014 | 0.9770 +- 0.0007
delta3 | 0.9940 +- 0.0023 | 0.9957 +- 0.0013 | 0.9963 +- 0.0003 | 0.9962 +- 0.0003
boundary_0.05_abs_rel | 0.1583 +- 0.0169 | 0.1447 +- 0.0103 | 0.1393 +- 0.0015 | 0.1432 +- 0.0023
"""
ORDER = {
    "kitti": ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3"),
    "nyu": ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3"),
}


@pytest.mark.parametrize(("data", "expected"), [("kitti", KITTI), ("nyu", NYU)])
def test_every_number_stands_as_it_was_printed(data, expected):
    lines = [
        f"{row.method} | {row.constraint} | " + " ".join("-" if v is None else str(v) for v in row.metrics.values())
        for row in published(data)
        if row.protocol != "controlled"
    ]
    assert lines == expected.strip().splitlines()
    rows = [row for row in published(data) if row.protocol != "controlled"]
    assert all(tuple(row.metrics) == ORDER[data] == published_columns(data) for row in rows)


def test_each_row_says_where_it_is_printed_and_by_which_protocol():
    rows = [row for data in ("kitti", "nyu") for row in published(data)]
    assert all("arXiv 2601.17657" in row.source for row in rows)
    assert [row.protocol for row in published("kitti")] == ["reported"] * 9 + ["paper"] * 4
    assert [row.protocol for row in published("nyu")] == ["reported"] * 9 + ["paper"] * 2 + ["controlled"] * 4
    assert all((row.labelled == "paper") == row.method.startswith("SPACE-CLIP") for row in rows)


def test_the_five_seed_table_is_whole():
    rows = [row for row in published("nyu") if row.protocol == "controlled"]
    assert [row.method for row in rows] == [f"SPACE-CLIP, {arm}" for arm in ("none", "early", "middle", "late")]
    lines = [
        " | ".join((metric, *(f"{row.metrics[metric]} +- {row.sd[metric]}" for row in rows)))
        for metric in published_columns("nyu", "controlled")
    ]
    assert lines == CONTROLLED.strip().splitlines()
    assert {row.seeds for row in rows} == {(42, 43, 44, 45, 46)}
    assert not any(row.sd or row.seeds for row in published("kitti"))


def test_the_printed_mean_and_deviation_are_those_of_the_seeds():
    for row in published("nyu"):
        if row.protocol == "controlled":
            assert round(mean(row.by_seed), 4) == row.metrics["abs_rel"]
            assert round(stdev(row.by_seed), 4) == row.sd["abs_rel"]


def test_other_data_sets_have_none():
    assert published("folder") == ()


def test_what_cannot_be_is_noted():
    # A share of 1 - delta_k lies beyond k log 1.25, which bounds the log error from below, per image and over pixels.
    def impossible(row):
        found, deltas = row.metrics.get("rmse_log"), [row.metrics[f"delta{k}"] for k in (1, 2, 3)]
        return found is not None and float(found) < math.log(1.25) * sum(1 - float(delta) for delta in deltas)

    odd = [row for row in published("kitti") if impossible(row)]
    assert [(row.method, "RMSE log 0.121 is as printed" in row.note) for row in odd] == [("Auty et al.", True)]


def test_what_a_reader_must_know_of_a_row_stands_with_it():
    notes = {row.method: row.note for data in ("kitti", "nyu") for row in published(data) if row.note}
    for method in ("baseline", "+ FiLM", "+ structural"):
        assert "full model (SPACE-CLIP above) was trained by another recipe" in notes[f"SPACE-CLIP {method}"]
    assert "`keep: last` makes" in notes["SPACE-CLIP, last"]
    assert "chosen on the test split" in notes["SPACE-CLIP"]
    assert "collapsed" in notes["SPACE-CLIP, none"]
