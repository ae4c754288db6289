import hashlib
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from spaceclip.cache import SpaceClipError
from spaceclip.extract import BackboneSettings, load_backbone
from spaceclip.extract.clip_tiny import __main__ as command
from spaceclip.extract.clip_tiny import objectives, words
from spaceclip.extract.clip_tiny.augment import Batches
from spaceclip.extract.clip_tiny.model import GRID, PATCH, TinyClip
from spaceclip.extract.clip_tiny.pairs import CELLS, Pairs, batches, render
from spaceclip.extract.clip_tiny.pretrain import Recipe, pretrain
from spaceclip.extract.clip_tiny.retrieval import retrieval
from spaceclip.extract.clip_tiny.saving import save
from spaceclip.extract.sources.synthetic import ENCODER_SEED, EncoderSettings, SyntheticSettings, SyntheticSource
from spaceclip.extract.towers import embedded
from spaceclip.extract.towers.embedded import embedded_folder, require_unaltered

ROOT = Path(__file__).parents[2]
SIDE = GRID * PATCH
COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 250]], np.uint8)


@pytest.fixture(scope="module")
def pairs():
    """Pictures of four coloured quarters, differently arranged, whose regions are the colours."""
    rng = np.random.default_rng(0)
    pictures, regions = [], []
    for _ in range(6):
        quarters = rng.permutation(4).reshape(2, 2)
        regions.append(quarters.repeat(CELLS // 2, 0).repeat(CELLS // 2, 1))
        pictures.append(COLOURS[quarters].repeat(SIDE // 2, 0).repeat(SIDE // 2, 1).transpose(2, 0, 1))
    captions = [["a room with a sofa on the left", "a chair, on the right side"]] * 6
    names = ["red", "green", "blue", "white"]
    return Pairs(np.stack(pictures), np.stack(regions).astype(np.int16), captions, names)


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return words.learn([text for captions in pairs.captions for text in captions] + pairs.phrases)


def test_the_demo_and_all_other_experiments_use_none_of_the_encoders_scenes():
    experiments = [yaml.safe_load(file.read_text()) for file in (ROOT / "configs").glob("*.yaml")]
    seeds = [data.get("seed", SyntheticSettings().seed) for data in (one["data"] for one in experiments)]
    assert len(seeds) > 3
    assert max(seeds) < ENCODER_SEED <= EncoderSettings().seed


def test_depth_reaches_the_pairs_only_as_words(tmp_path, monkeypatch):
    settings = EncoderSettings(scenes=2, views_per_scene=1, height=32, width=48)
    first = render(tmp_path / "as it is", settings, 1)
    picture = SyntheticSource.picture

    def farther(source, index):
        found = picture(source, index)
        return replace(found, depth=3 * found.depth)

    monkeypatch.setattr(SyntheticSource, "picture", farther)
    monkeypatch.setattr("spaceclip.extract.clip_tiny.pairs.ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    again = render(tmp_path / "farther", settings, 1)
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(first.regions, again.regions)
    assert first.phrases == again.phrases
    assert "near" not in " ".join(first.phrases)


def test_rendered_pairs_name_what_the_pictures_show_and_are_rendered_once(tmp_path):
    settings = EncoderSettings(scenes=2, views_per_scene=1, height=32, width=48)
    first = render(tmp_path, settings, 2)
    assert first.pictures.shape == (2, 3, SIDE, SIDE)
    assert first.regions.shape == (2, CELLS, CELLS)
    assert [len(captions) for captions in first.captions] == [2, 2]
    shown = [{first.phrases[k] for k in np.unique(regions)} for regions in first.regions]
    assert any("floor" in phrase or "wall" in phrase for phrase in shown[0])
    assert any("road" in phrase or "house" in phrase for phrase in shown[1])
    (file,) = tmp_path.glob("*.npz")
    made = file.stat().st_mtime_ns
    render(tmp_path, settings, 2)
    assert file.stat().st_mtime_ns == made
    render(tmp_path, settings, 3)
    assert file.stat().st_mtime_ns > made
    assert len(render(tmp_path, settings.model_copy(update={"scenes": 3}), 3).pictures) == 3


def test_texts_start_end_and_are_padded(tokenizer):
    ids = words.tokens(tokenizer, ["a sofa", "a room with a sofa on the left"])
    assert ids.shape == (2, 10)
    assert ids[:, 0].tolist() == [words.START] * 2
    assert ids[0, 3:].tolist() == [words.END] + [words.PADDING] * 6
    assert words.UNKNOWN not in ids


def test_a_mirrored_picture_has_left_and_right_exchanged(tokenizer):
    ids = words.tokens(tokenizer, ["a sofa on the left", "a chair on the right"])
    mirrored = words.tokens(tokenizer, ["a sofa on the right", "a chair on the left"])
    assert torch.equal(words.mirrored(tokenizer, ids), mirrored)


def test_contrast_is_the_mean_of_both_cross_entropies():
    generator = torch.Generator().manual_seed(0)
    pictures, texts = torch.nn.functional.normalize(torch.randn(2, 5, 8, generator=generator), dim=-1)
    loss, nearest = objectives.contrast(pictures, texts, torch.tensor(3.0))
    logits = np.exp(3.0) * pictures.double().numpy() @ texts.double().numpy().T
    chances = [np.exp(table) / np.exp(table).sum(1, keepdims=True) for table in (logits, logits.T)]
    expected = -sum(np.log(table.diagonal()).mean() for table in chances) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(nearest) == pytest.approx(np.mean(logits.argmax(1) == np.arange(5)))


def test_region_names_weigh_what_a_patch_shows():
    generator = torch.Generator().manual_seed(0)
    patches = torch.nn.functional.normalize(torch.randn(2, 3, 8, generator=generator), dim=-1)
    names = torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    cells = torch.randint(4, (2, 3, 16), generator=generator)
    loss = objectives.region_names(patches, names, cells, torch.tensor(2.0))
    terms = []
    for patch, shown in zip(patches.flatten(0, 1).double().numpy(), cells.flatten(0, 1).numpy(), strict=True):
        logits = np.exp(2.0) * names.double().numpy() @ patch
        chances = np.exp(logits) / np.exp(logits).sum()
        terms.append(-np.mean(np.log(chances[shown])))
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)


def test_reconstruction_is_zero_for_the_hidden_patches_own_pixels():
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([[0, 17]])
    own = []
    for row, column in ((0, 0), (1, 3)):
        patch = pixels[0, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH].flatten()
        own.append((patch - patch.mean()) / patch.std())
    assert float(objectives.reconstruction(torch.stack(own)[None], pixels, wanted)) < 1e-6
    assert float(objectives.reconstruction(-torch.stack(own)[None], pixels, wanted)) == pytest.approx(4, rel=0.01)


def test_regions_follow_their_picture_through_crop_and_mirror(pairs, tokenizer):
    batch = Batches(pairs, tokenizer)(np.arange(6), np.random.default_rng(3))
    assert batch.pixels.shape == (6, 3, SIDE, SIDE)
    patches = batch.pixels.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).flatten(2, 3).mean((-1, -2)).mT
    brightest = patches.argmax(-1)
    white = patches.min(-1).values > patches.mean()
    plain = (batch.cells == batch.cells[..., :1]).all(-1)  # patches of one colour alone
    coloured = patches.std(-1) > 0.5  # pictures made grey tell nothing
    seen = torch.where(white, 3, brightest)
    assert plain.float().mean() > 0.7
    agree = (seen == batch.cells[..., 0])[plain & (coloured | (batch.cells[..., 0] == 3))]
    assert agree.float().mean() > 0.97
    assert len({tuple(cells.flatten().tolist()) for cells in batch.cells}) == 6


def test_batches_go_through_all_pairs_and_go_on_anywhere():
    whole = batches(10, 3, 7, 0)
    first = [next(whole) for _ in range(7)]
    assert sorted(np.concatenate(first[:3]).tolist()) == sorted(set(np.concatenate(first[:3]).tolist()))
    assert not np.array_equal(first[0], first[3])
    later = batches(10, 3, 7, 4)
    assert all(np.array_equal(next(later), batch) for batch in first[4:])


def test_hidden_patches_do_not_reach_the_tower():
    torch.manual_seed(0)
    model = TinyClip(8).eval()
    pixels = torch.rand(1, 3, SIDE, SIDE)
    visible = torch.tensor([[0, 5, 195]])
    changed = pixels.clone()
    changed[:, :, PATCH : 2 * PATCH] = 0  # the second row of patches
    with torch.inference_mode():
        assert torch.equal(model.picture_tokens(pixels, visible), model.picture_tokens(changed, visible))
        assert not torch.equal(model.picture_tokens(pixels), model.picture_tokens(changed))
        every = torch.arange(GRID * GRID)[None]
        torch.testing.assert_close(model.picture_tokens(pixels, every), model.picture_tokens(pixels))


RECIPE = Recipe(scenes=6, views_per_scene=1, captions=2, batch_size=3, steps=3, whole=0.34)


def test_an_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(pairs, tmp_path):
    whole, _ = pretrain(pairs, RECIPE, tmp_path)
    (tmp_path / "parts").mkdir()
    pretrain(pairs, RECIPE, tmp_path / "parts", until=2)
    with pytest.raises(SpaceClipError, match=r"state\.pt does not fit the recipe"):
        pretrain(pairs, RECIPE.model_copy(update={"steps": 4}), tmp_path / "parts")
    with pytest.raises(SpaceClipError, match=r"state\.pt does not fit the captions"):
        pretrain(replace(pairs, captions=[["others"]] * 6), RECIPE, tmp_path / "parts")
    with (tmp_path / "parts" / "log.csv").open("a") as log:
        log.write("3,9,0,0,0,0\n")  # logged, and killed before it was saved
    parts, _ = pretrain(pairs, RECIPE, tmp_path / "parts")
    assert all(torch.equal(tensor, parts.state_dict()[name]) for name, tensor in whole.state_dict().items())
    log = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "2", "3"]
    assert log[-1].split(",")[4] == ""  # nothing is predicted where all is seen


def test_fewer_pairs_than_a_batch_are_one_line(pairs, tmp_path):
    with pytest.raises(SpaceClipError, match=r"^6 pairs, expected a batch of 128 at least: more --scenes$"):
        pretrain(pairs, Recipe(), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "file"], "file: cannot be a folder"),
        (["--work", "file"], "file: cannot be a folder"),
        (["--out", "pictures"], "pictures: holds other files, expected an empty folder or an earlier tower"),
        (["--scenes", "42"], "42 is not in the range x>=43"),
        (["--steps", "100", "--until", "101"], "Error: --until 101 lies beyond the last step, 100"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_is_rendered(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "render", lambda *_: pytest.fail("rendered"))
    Path("file").touch()
    Path("pictures").mkdir()
    Path("pictures/README.md").write_text("mine")
    ended = CliRunner().invoke(command.main, ["--work", "work", "--out", "new", *arguments])
    assert ended.exit_code in {1, 2}
    assert message in ended.output
    assert Path("pictures/README.md").read_text() == "mine"


class TestRetrieval:
    @pytest.fixture
    def found(self, pairs, tokenizer, monkeypatch):
        """Of made-up vectors of pictures and texts."""

        def retrieve(pictures, texts):
            model = TinyClip(tokenizer.get_vocab_size())
            monkeypatch.setattr(model, "picture_vectors", lambda _: torch.as_tensor(pictures).float())
            monkeypatch.setattr(model, "text_vectors", lambda _: torch.as_tensor(texts).float())
            return retrieval(model, tokenizer, pairs)

        return retrieve

    def test_ranks_are_of_the_own_caption_and_of_the_own_picture(self, found):
        similar = np.eye(6)
        similar[0, 1] = 2  # another caption is nearer to the first picture, so another picture to the second caption
        assert found(similar, np.eye(6)) == pytest.approx(
            {"caption_top1": 5 / 6, "caption_top5": 1, "picture_top1": 5 / 6, "picture_top5": 1}
        )

    def test_a_model_that_tells_nothing_apart_finds_nothing(self, found):
        assert set(found(np.ones((6, 2)), np.ones((6, 2))).values()) == {0.0}


def test_the_written_tower_is_loaded_as_any_other_and_computes_the_same(pairs, tmp_path):
    model, tokenizer = pretrain(pairs, RECIPE, tmp_path)
    found = retrieval(model, tokenizer, pairs)
    save(model, RECIPE, found, tmp_path / "log.csv", tmp_path / "tower")
    require_unaltered("embedded:tower", tmp_path / "tower")
    backbone = load_backbone(str(tmp_path / "tower"), precision="float32")
    images = torch.from_numpy(pairs.pictures[:2])
    with torch.inference_mode():
        pixels = (images / 255 - torch.tensor(backbone.mean).view(3, 1, 1)) / torch.tensor(backbone.std).view(3, 1, 1)
        expected = model.picture_tokens(pixels)[:, 0]
    torch.testing.assert_close(backbone.encode(images, [12]).pooled, expected, rtol=0.01, atol=0.01)  # float16 weights


def test_the_embedded_encoder_needs_no_network_and_is_known_by_its_weights(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
    backbone = load_backbone("embedded:clip-tiny")
    assert (backbone.depth, backbone.channels, backbone.patches, backbone.input_size) == (12, 192, 196, 224)
    assert backbone.identity["name"] == "embedded:clip-tiny"
    expected = BackboneSettings(name="embedded:clip-tiny").expected_identity()
    assert expected.items() <= backbone.identity.items()
    assert len(expected["weights"]) == 64
    random = load_backbone("random:embedded:clip-tiny", seed=3)
    assert (random.channels, random.identity["name"]) == (192, "random:embedded:clip-tiny")
    assert random.identity["weights"] != backbone.identity["weights"]


@pytest.mark.parametrize("change", [lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], None])
def test_an_embedded_encoder_that_was_altered_is_installed_again(tmp_path, monkeypatch, change):
    own, folder = Path(embedded_folder("embedded:clip-tiny")), tmp_path / "weights"
    shutil.copytree(own, folder)
    file = folder / "model.safetensors"
    file.write_bytes(change(file.read_bytes())) if change else file.unlink()
    monkeypatch.setitem(embedded._FOLDERS, "clip-tiny", folder)
    found = hashlib.sha256(file.read_bytes()).hexdigest()[:16] if change else "none"
    expected = hashlib.sha256((own / file.name).read_bytes()).hexdigest()[:16]
    with pytest.raises(SpaceClipError) as caught:
        load_backbone("embedded:clip-tiny")
    assert str(caught.value) == (
        f"backbone embedded:clip-tiny: {file} is not the file that comes with SpaceCLIP (SHA-256 {found}, expected "
        f"{expected}); install SpaceCLIP again"
    )


def test_the_embedded_encoder_is_small_and_was_made_by_the_command_as_it_stands():
    folder = Path(embedded_folder("embedded:clip-tiny"))
    assert (folder / "model.safetensors").stat().st_size < 12e6
    assert Recipe.model_validate(json.loads((folder / "recipe.json").read_text())) == Recipe()
    assert "Not for" in (folder / "README.md").read_text()


def test_an_unknown_embedded_encoder_is_one_line():
    with pytest.raises(SpaceClipError, match=r"^backbone embedded:clip-huge: .* choose embedded:clip-tiny$"):
        load_backbone("embedded:clip-huge")
    with pytest.raises(SpaceClipError, match=r"^backbone embedded:clip-tiny is not of the hub and has no revision"):
        load_backbone("embedded:clip-tiny", revision="main")
    with pytest.raises(SpaceClipError, match=r"^backbone random:embedded:clip-tiny .* has no revision main; leave it"):
        load_backbone("random:embedded:clip-tiny", revision="main")
