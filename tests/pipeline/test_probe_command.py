"""`spaceclip probe`: from a folder of features to a table, files and a figure."""

import csv
import json
from pathlib import Path

import pytest
from spaceclip.cache import FeatureCache, Looks, count_looks
from spaceclip.evaluate.probing import probes
from spaceclip.pipeline import probe as probing
from spaceclip.pipeline.probe import read_probes

FEATURES, OUT = "features/tiny", Path("results/tiny-probe")


def test_layers_and_pairs_are_probed_and_every_file_says_of_what(extracted, spaceclip):
    told = spaceclip("probe", FEATURES, "--pairs", "--max-depth", 10).stdout
    table = (OUT / "probe.md").read_text()
    assert told == f"{table}{OUT}: probe.png (figure), probe.csv, probe.md, probe.json\n"
    assert "RANDOM WEIGHTS: the numbers say nothing of CLIP" in table
    found = json.loads((OUT / "probe.json").read_text())
    val = FeatureCache.open(f"{FEATURES}/val.json")
    assert found["held_out"]["stores"] == [val.digest]
    assert (found["held_out"]["split"], found["held_out"]["images"]) == ("val", len(val))
    assert (found["name"], found["depth_range"]) == ("tiny", [0.001, 10])
    with (OUT / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["layers"] for row in rows[:5]] == ["0", "1", "2", "3", "0 1"]
    assert len(rows) == 4 + 6 + 4
    assert {(row["split"], row["random_backbone"], row["max_depth"]) for row in rows} == {("val", "True", "10.0")}
    assert (OUT / "probe.png").read_bytes().startswith(b"\x89PNG")


def test_show_prints_probes_again_report_says_where_they_are_and_fewer_views_than_asked_for_are_said(
    extracted, spaceclip, one_line
):
    told = spaceclip("probe", FEATURES, "--layers", 0, "--views", 1000)
    count = len(FeatureCache.open(f"{FEATURES}/val.json"))
    assert f"--views 1000: all {count} images of the split are drawn, there are no more\n" in told.stderr
    assert spaceclip("show", OUT).output == (OUT / "probe.md").read_text()
    where = "probes have no page; look at probe.md and probe.png there, or `spaceclip show`"
    assert f"{OUT}: {where}" in one_line("report", OUT)


def test_probes_on_the_test_split_are_a_look_at_it_that_is_counted_and_said(extracted, spaceclip, monkeypatch):
    captions, draw = [], probing.views_figure
    monkeypatch.setattr(probing, "views_figure", lambda views, text: captions.append(text) or draw(views, text))
    given = ("probe", FEATURES, "--split", "test", "--ridge", 0.01, "--views", 1)
    told = spaceclip(*given, "--layers", "3,1").stdout
    assert "Warning: this is a look at the test split" in told
    assert "patches) of the test split; test split looked at once by then, by 1 set of probes\n" in told
    assert "test split looked at once by then, by 1 set of probes\n" in captions[0]
    out, test = Path("results/tiny-probe-test"), FeatureCache.open(f"{FEATURES}/test.json")
    found = read_probes(out)
    assert [(probe.layers, probe.ridge) for probe in found.probes] == [((1,), 0.01), ((3,), 0.01)]
    assert found.held_out.stores == (test.digest,)
    assert "looked at once by then" in found.caption  # of the figure
    (noted,) = Path(str(test.path)).with_suffix(".looks").iterdir()
    assert json.loads(noted.read_text())["by"] == str(out)
    assert "looked at once" in spaceclip(*given, "--layers", "1,3", "--force").stdout  # the same probes: no new look
    assert "by then, by 2 sets of probes" in spaceclip(*given, "--layers", 1, "--force").stdout
    assert "looked at" not in spaceclip("probe", FEATURES, "--layers", 1).stdout
    assert count_looks(test.path) == Looks(2, probes=2)


def test_probes_of_another_encoder_stand_beside_if_they_are_of_the_same_patches(
    extracted, spaceclip, one_line, monkeypatch
):
    for split in ("train", "val"):
        config = ("--config", "configs/tiny.yaml", "--split", split, "--set", "backbone.seed=5")
        spaceclip("extract", *config, "--out", "features/other")
    spaceclip("probe", "features/other", "--out", "other")
    told = spaceclip("probe", FEATURES, "--beside", "other").stdout
    assert "Beside them, of the same patches, float16 features of random:" in told
    assert told.count("| 3 ") == 2
    alone = (OUT / "probe.png").read_bytes()
    spaceclip("probe", FEATURES, "--force")
    assert (OUT / "probe.png").read_bytes() != alone
    assert "were fitted to or scored on other patches" in one_line(
        "probe", FEATURES, "--beside", "other", "--max-depth", 10, "--out", "third"
    )
    monkeypatch.setattr(probes, "_accumulate", None)  # refused before the work where numbers of images tell
    assert "were fitted to or scored on other patches" in one_line(
        "probe", FEATURES, "--beside", "other", "--split", "test", "--out", "third"
    )
    assert not Path("third").exists()
    Path("none").mkdir()
    assert "no probes can be read; run spaceclip probe --out none" in one_line(
        "probe", FEATURES, "--beside", "none", "--force"
    )


def test_views_of_images_spread_over_the_split_or_named_are_drawn_beside_the_probes(
    extracted, spaceclip, one_line, monkeypatch
):
    drawn, draw = [], probing.views_figure
    monkeypatch.setattr(probing, "views_figure", lambda views, caption: drawn.append(views) or draw(views, caption))
    val = FeatureCache.open(f"{FEATURES}/val.json")
    ids = val.sample_ids
    told = spaceclip("probe", FEATURES, "--views", 3).stdout
    assert told.endswith(f"{OUT}: probe.png (figure), views.png (layers as colours), probe.csv, probe.md, probe.json\n")
    assert (OUT / "views.png").read_bytes().startswith(b"\x89PNG")
    spaceclip("probe", FEATURES, "--views", ids[3], "--views", ids[1], "--layers", "3,1", "--force")
    assert [views.names for views in drawn] == [[ids[0], ids[2], ids[3]], [ids[3], ids[1]]]
    assert [[view.layer for view in views.layers] for views in drawn] == [[0, 1, 2, 3], [1, 3]]
    assert (drawn[1].images[0] == val.image(3)).all()
    assert "has no usable sample 'attic/1'; its ids are such as" in one_line(
        "probe", FEATURES, "--views", "attic/1", "--force"
    )
    assert (OUT / "views.png").exists()
    spaceclip("probe", FEATURES, "--layers", 0, "--force")
    assert not (OUT / "views.png").exists()  # it would be of other probes


def test_a_finished_result_is_replaced_only_when_asked_for(extracted, spaceclip, one_line):
    spaceclip("probe", FEATURES, "--layers", 0, "--out", "mine")
    before = Path("mine/probe.json").read_bytes()
    assert "mine holds finished probes: give another --out, or --force" in one_line("probe", FEATURES, "--out", "mine")
    assert Path("mine/probe.json").read_bytes() == before
    spaceclip("probe", FEATURES, "--layers", 1, "--out", "mine", "--force")
    assert Path("mine/probe.json").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--layers", "1,9"],
            "lacks the hidden states [9], it holds [0, 1, 2, 3]; its encoder has 0 to 3; choose among those",
        ),
        (["--views", 0], "--views 0 draws nothing: give how many images to draw, or leave it out"),
        (["--ridge", -1], "ridge -1: expected a strength above 0"),
        (["--max-depth", 0], "the depth range is 0.001 to 0 m, expected 0 < least < most"),
    ],
)
def test_options_that_do_not_fit_end_in_one_line(extracted, one_line, arguments, message):
    assert message in one_line("probe", FEATURES, *arguments)
    assert not OUT.exists()


def test_one_split_in_place_of_the_folder_is_one_line(extracted, one_line):
    store = next(Path(FEATURES).glob("train-*.zarr"))
    for given in (f"{FEATURES}/train.json", f"{FEATURES}/val.json", store):
        assert f"{given}: is one split, expected the folder of all of them: give {FEATURES}\n" in one_line(
            "probe", given
        )
    assert "is one split, expected the folder" in one_line("train", "--features", store, "--out", "mine")


def test_no_layers_are_not_all_layers(extracted, spaceclip):
    for command in (("probe", FEATURES), ("extract", "--config", "configs/tiny.yaml")):
        told = spaceclip(*command, "--layers", "", code=2).output
        assert told.endswith("Error: Invalid value for '--layers': '' is no list of numbers such as 0,1,2\n")


def test_features_without_depth_or_a_split_or_of_one_scene_end_in_one_line(
    project, spaceclip, one_line, pictures, tiny
):
    depth = ("--depth", pictures / "depth", "--depth-scale", 1000)
    for name, options, message in (
        ("blind", ("--val", 0.2), "holds images without depth; extract it with --depth"),
        ("two", (*depth, "--val", 0.5, "--scene", r"^(scene\d)"), "one scene only; give one strength (--ridge 1e-3)"),
        (
            "unsplit",
            (*depth, "--test", 0.2),
            "unsplit: has no val split; hold scenes out (data.split.val) and extract again",
        ),
    ):
        spaceclip(
            "extract", "--images", pictures / "rgb", "--backbone", tiny, "--layers", "0,3", "--out", name, *options
        )
        assert message in one_line("probe", name)


def test_splits_divided_by_samples_are_said_to_flatter(project, spaceclip, pictures, tiny):
    depth = ("--depth", pictures / "depth", "--depth-scale", 1000, "--val", 0.5)
    for by in ("ratio", "scene"):
        given = ("--backbone", tiny, "--layers", 3, *depth, "--split-by", by, "--out", by)
        spaceclip("extract", "--images", pictures / "rgb", *given)
    warning = "Warning: train and val were divided by samples (ratio), not by scenes"
    assert warning in spaceclip("probe", "ratio").stdout
    assert warning not in spaceclip("probe", "scene").stdout


def test_an_interruption_is_clean_and_leaves_nothing(extracted, spaceclip, monkeypatch):
    def interrupted(*_given):
        raise KeyboardInterrupt

    monkeypatch.setattr(probes, "choose_strength", interrupted)
    result = spaceclip("probe", FEATURES, code=130)
    assert result.output.startswith("spaceclip: interrupted")
    assert not OUT.exists()
