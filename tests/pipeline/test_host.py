"""Depth in a host: from the hidden states of its own forward pass, and from an encoder that it has tuned."""

import contextlib
import copy
import io
import json
import pickle
import re
import runpy
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from spaceclip import attach
from spaceclip.cache import FeatureCache, SpaceClipError
from spaceclip.evaluate import predict
from spaceclip.extract import BackboneSettings, find_tower, host_backbone, load_backbone
from spaceclip.pipeline.prediction import CameraChoice, SpaceClip
from spaceclip.pipeline.prediction.cameras import TrainingCamera
from spaceclip.train import CheckpointInfo
from spaceclip.train.sealed import seal
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from transformers.models.clip import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)
from transformers.models.llama import LlamaConfig
from transformers.models.llava import LlavaConfig, LlavaForConditionalGeneration

ROOT = Path(__file__).parents[2]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGE, PATCHES = 19, 16
WORDS = torch.tensor([[1, *[IMAGE] * PATCHES, 5, 6]])
SMALL: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def vision(tiny, **changes):
    shape = json.loads(Path(tiny.removeprefix("random:")).read_bytes()) | changes
    return CLIPVisionConfig(**{name: value for name, value in shape.items() if name != "model_type"})


def with_tower(host, tiny) -> Any:
    """The host with the weights of the encoder that the decoder was trained on."""
    encoder: Any = load_backbone(tiny, precision="float32")
    find_tower(host).module.load_state_dict(find_tower(encoder.model).module.state_dict())
    return host.eval()


def bare(tiny, **changes):
    return CLIPVisionModel(vision(tiny, **changes))


def clip(tiny):
    text = CLIPTextConfig(vocab_size=20, bos_token_id=1, eos_token_id=2, max_position_embeddings=32, **SMALL)
    return CLIPModel(CLIPConfig(vision_config=vision(tiny).to_dict(), text_config=text.to_dict()))


def llava(tiny, layer: Any = -2) -> Any:
    language = LlamaConfig(vocab_size=20, max_position_embeddings=64, **SMALL)
    places: dict[str, Any] = {"image_token_id": IMAGE, "image_seq_length": PATCHES, "vision_feature_layer": layer}
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision(tiny), text_config=language, **places))


def llava_of_several_layers(tiny):
    return llava(tiny, [-3, -2])


def answered(host, pixels):
    return host(input_ids=WORDS.repeat(len(pixels), 1), pixel_values=pixels, use_cache=False)


HOSTS = {
    bare: lambda host, pixels: host(pixel_values=pixels, output_hidden_states=True),
    clip: lambda host, pixels: host(
        input_ids=WORDS.repeat(len(pixels), 1), pixel_values=pixels, attention_mask=torch.ones(len(pixels), 19)
    ),
    lambda tiny: CLIPVisionModelWithProjection(vision(tiny)): lambda host, pixels: host(pixel_values=pixels),
    llava: answered,
    llava_of_several_layers: answered,
}


@pytest.fixture(scope="module")
def folder(trained_once):
    return trained_once / "results/tiny"


@pytest.fixture(scope="module")
def model(folder, tiny):
    return SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def test_split(trained_once):
    return FeatureCache.open(trained_once / "features/tiny/test.json")


@pytest.fixture(scope="module")
def frames(model, test_split, pictures):
    """[N, 32, 32, 3] uint8, what the encoder sees of the test split."""
    return np.stack([model.prepare(Image.open(pictures / "rgb" / f"{name}.png")) for name in test_split.sample_ids])


@pytest.fixture(scope="module")
def pixels(frames):
    """The same as a host is given it."""
    scaled = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.fixture
def host(tiny):
    return with_tower(bare(tiny), tiny)


@pytest.fixture
def head(host, folder):
    with attach(host, folder, precision="float32") as head:
        yield head


@pytest.mark.parametrize("make", HOSTS)
@torch.inference_mode()
def test_depth_is_that_of_predict_and_no_output_of_the_host_differs(
    make, tiny, folder, model, frames, pixels, test_split
):
    host, compute = with_tower(make(tiny), tiny), HOSTS[make]
    expected = tree_leaves(compute(host, pixels).to_tuple())
    with attach(host, folder, precision="float32") as head:
        found = tree_leaves(compute(host, pixels).to_tuple())
        depth = head()
        larger = head((24, 32))
    assert len(found) > 1
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert depth.shape == (len(frames), 1, 64, 64)
    assert depth.dtype == torch.float32
    np.testing.assert_allclose(depth[:, 0], model.decode(frames), rtol=0, atol=1e-5)
    rows = predict(model.decoder, test_split, flip_average=False, precision="float32")
    np.testing.assert_allclose(depth[:, 0], torch.stack([row.depths["plain"] for row in rows]), rtol=1e-3)
    assert larger.shape == (len(frames), 1, 24, 32)
    np.testing.assert_array_equal(larger[0, 0], model.depth_map(np.zeros((24, 32, 3), np.uint8), depth[0, 0]).depth)


def test_an_answer_is_the_same_and_has_depth_without_a_second_pass_of_the_tower(tiny, folder, pixels, model, frames):
    host, passes = with_tower(llava(tiny), tiny), []
    given = {"input_ids": WORDS, "attention_mask": torch.ones_like(WORDS), "pixel_values": pixels[:1]}
    answer = host.generate(**given, max_new_tokens=5, do_sample=False)
    find_tower(host).module.embeddings.register_forward_hook(lambda *_given: passes.append(1))
    with attach(host, folder, precision="float32") as head:
        assert torch.equal(host.generate(**given, max_new_tokens=5, do_sample=False), answer)
        np.testing.assert_allclose(head()[:, 0], model.decode(frames[:1]), rtol=0, atol=1e-5)
        found = head.depth_map(Image.new("RGB", (30, 20)))
        with pytest.raises(SpaceClipError, match="was given 1 images last, and depth is asked for that of index 1"):
            head.depth_map(Image.new("RGB", (30, 20)), 1)
    assert passes == [1]
    assert (found.depth.shape, found.unit) == ((20, 30), "metres")


@torch.inference_mode()
def test_of_a_batch_the_place_of_the_photograph_must_be_said(host, folder, pixels):
    photo = Image.new("RGB", (30, 20))
    with attach(host, folder, precision="float32") as head:
        host(pixels)
        with pytest.raises(SpaceClipError, match="index None: expected the photograph's place among them, from 0 to"):
            head.depth_map(photo)
        np.testing.assert_array_equal(head.depth_map(photo, 1).depth, head((20, 30))[1, 0])


@torch.inference_mode()
def test_a_photograph_has_the_camera_that_predict_finds_and_is_turned_as_there(host, head, model, pixels, monkeypatch):
    taught = TrainingCamera({"size": [480, 640], "focal": [500, 500, 500], "images": 1})
    monkeypatch.setattr(SpaceClip, "training_camera", taught)
    exif, stored = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # lies on its side
    exif.get_ifd(0x8769)[0xA405] = 77
    Image.new("RGB", (30, 20)).save(stored, "jpeg", exif=exif)
    host(pixels[:1])
    for camera in (None, CameraChoice(fov_x=40)):
        with pytest.warns(UserWarning, match="so depths are too small") as said:
            found = head.depth_map(Image.open(stored), camera=camera)
        with pytest.warns(UserWarning, match="too small") as expected:
            predicted = model.predict(Image.open(stored), camera=camera)
        assert (found.intrinsics, found.depth.shape) == (predicted.intrinsics, (30, 20))
        assert [str(one.message) for one in said] == [str(one.message) for one in expected]
        assert said[0].filename == __file__
    with pytest.raises(SpaceClipError, match="an image is of type list: expected a path, a PIL picture or a numpy"):
        head.depth_map([Image.open(stored)])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("size", [(0, 5), (5,), (3, 5, 5), (2.5, 5), 7])
def test_a_size_that_is_none_is_one_line(size, host, head, pixels):
    host(pixels)
    with pytest.raises(SpaceClipError, match=r"^depth is asked for at size .*: expected \(height, width\) in whole"):
        head(size)


def test_an_attached_decoder_is_not_copied(head):
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(SpaceClipError, match="cannot be copied or pickled, being attached to CLIPVisionModel: att"):
            copied(head)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (torch.float32, r"trained on random:\S+json$"),
        (torch.bfloat16, r"trained on random:\S+json in float32, which differs from this host's bfloat16$"),
    ],
)
def test_another_precision_than_the_record_s_is_said(dtype, said, host, folder):
    assert re.search(said, repr(attach(host.to(dtype), folder, allow_other_weights=True)))


def compiled(host) -> Any:
    """Inductor takes too long for a test, and has no part in what is seen of hooks."""
    return torch.compile(host, backend="eager", fullgraph=True)


@torch.inference_mode()
def test_a_compiled_host_gives_depth_though_it_was_compiled_before(host, folder, pixels):
    fast = compiled(host)
    expected = fast(pixel_values=pixels)
    for one in (host, fast):
        with attach(one, folder, precision="float32") as head:
            found = fast(pixel_values=pixels)
            depth = head()
            host(pixel_values=pixels)
            assert torch.equal(depth, head())
        assert torch.equal(found.pooler_output, expected.pooler_output)
        fast(pixel_values=pixels)


@pytest.fixture
def like_host(tiny):
    return with_tower(bare(tiny), tiny)


@torch.inference_mode()
def test_code_compiled_for_a_like_host_without_hooks_serves_no_old_depth(host, like_host, head, pixels, model, frames):
    fast, other = compiled(host), compiled(like_host)
    other(pixel_values=pixels[2:4])
    fast(pixel_values=pixels[:2])
    other(pixel_values=pixels[2:4])
    np.testing.assert_allclose(head()[:, 0], model.decode(frames[:2]), rtol=0, atol=1e-5)
    fast(pixel_values=pixels[2:4])
    np.testing.assert_allclose(head()[:, 0], model.decode(frames[2:4]), rtol=0, atol=1e-5)


def test_depth_hangs_on_no_context_that_it_is_asked_in(host, head, pixels, model, frames):
    with torch.autocast("cpu", torch.bfloat16):
        plain = host(pixel_values=pixels).pooler_output
        inside = head()
    assert plain.dtype == torch.bfloat16 or plain.dtype == torch.float32
    assert torch.equal(head(), inside)
    np.testing.assert_allclose(inside[:, 0], model.decode(frames), rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_host_of_16_bits_has_the_recorded_weights_rounded(dtype, tiny, host, folder, pixels, model, frames):
    host.to(dtype)
    with attach(host, folder, backbone=tiny, precision="float32") as head:
        assert f"the recorded weights, rounded to {dtype}" in repr(head)
        host(pixel_values=pixels.to(dtype))
        np.testing.assert_allclose(head()[:, 0], model.decode(frames), rtol=0.05)
    host.float()  # as one that was saved in 16 bits is loaded
    assert f"rounded to {dtype}" in attach(host, folder, backbone=tiny).weights
    with pytest.raises(SpaceClipError, match=r"cannot be compared after rounding: .*say where it is"):
        attach(host, folder)
    find_tower(host).module.post_layernorm.weight.data[0] += 1
    with pytest.raises(SpaceClipError, match="rounded to 16 bits or not"):
        attach(host, folder, backbone=tiny)


def test_the_last_pass_counts_and_only_its_states_are_kept(host, head, pixels, model, frames):
    kept = []
    hook = host.encoder.layers[-1].register_forward_hook(
        lambda _module, _given, output: kept.append(weakref.ref(output))
    )
    with torch.inference_mode():
        for start in range(3):
            host(pixel_values=pixels[start : start + 2])
    hook.remove()
    assert sum(one() is not None for one in kept) <= 1
    np.testing.assert_allclose(head()[:, 0], model.decode(frames[2:4]), rtol=0, atol=1e-5)


def test_states_of_a_pass_that_failed_are_mixed_with_none_of_another(host, head, pixels):
    def fail(*_given):
        raise InterruptedError

    with pytest.raises(SpaceClipError, match="has not computed 0, 1, 2, 3, pooled in its last forward pass"):
        head()
    host(pixel_values=pixels)
    head()
    hook = host.encoder.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(InterruptedError):
        host(pixel_values=pixels)
    hook.remove()
    with pytest.raises(SpaceClipError, match="has not computed 2, 3, pooled in its last forward pass"):
        head()


def refuses(_module, given):
    if len(given[0]) == 1:
        raise InterruptedError


def test_an_image_that_the_host_refuses_leaves_no_depth_of_the_one_before(host, folder, pixels):
    host.register_forward_pre_hook(refuses)
    with attach(host, folder) as head:
        for refused, failure in ((torch.zeros(2, 3, 48, 48), ValueError), (pixels[:1], InterruptedError)):
            host(pixels)
            head()
            with pytest.raises(failure):
                host(refused)
            with pytest.raises(SpaceClipError, match="has not computed 0, 1, 2, 3, pooled in its last forward pass"):
                head()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("compiles", [False, True])
def test_what_a_host_makes_of_its_own_states_changes_no_depth(compiles, context, host, head, pixels, model, frames):
    compute = compiled(host) if compiles else host
    with context():
        found = compute(pixel_values=pixels)
        found.last_hidden_state.zero_()
        found.pooler_output.zero_()
    np.testing.assert_allclose(head()[:, 0], model.decode(frames), rtol=0, atol=1e-5)


def test_a_pass_without_an_image_leaves_the_depth_of_the_last_one(tiny, folder, pixels):
    host = with_tower(llava(tiny), tiny)
    with attach(host, folder) as head, torch.inference_mode():
        answered(host, pixels)
        depth = head()
        host(input_ids=torch.tensor([[1, 5, 6]]))
        assert torch.equal(head(), depth)


def test_a_block_that_is_computed_again_after_its_pass_changes_no_depth(host, head, pixels):
    """As a backward pass does, through the hooks too, where blocks are checkpointed from outside."""
    with torch.inference_mode():
        older = host(pixel_values=pixels[:2], output_hidden_states=True).hidden_states[1]
        host(pixel_values=pixels[2:4])
        depth = head()
        host.encoder.layers[1](older, None)
    assert torch.equal(head(), depth)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_what_a_backward_pass_computes_again_is_of_no_image(whole, reentrant, host, head, pixels):
    again, block = partial(checkpoint, use_reentrant=reentrant), host.encoder.layers[1]

    def compute(images):
        return host(images).pooler_output

    if not whole:
        block.forward = partial(again, block.forward)
    given = [images.clone().requires_grad_() for images in pixels[:4].split(2)]
    older, _ = (again(compute, images) if whole else compute(images) for images in given)
    depth = head()
    older.sum().backward()
    assert torch.equal(head(), depth)
    with pytest.raises(ValueError, match="doesn't match model"):
        host(torch.zeros(1, 3, 48, 48))
    with pytest.raises(SpaceClipError, match="has not computed"):
        head()


def replica(module):
    """What `DataParallel` runs on each device: other modules, with the same hooks."""
    made = module._replicate_for_data_parallel()
    made._parameters = module._parameters
    made._modules = {name: replica(part) for name, part in module._modules.items()}
    return made


@torch.inference_mode()
def test_replicas_give_no_depth_of_a_part_of_their_batch(host, head, pixels):
    host(pixel_values=pixels)
    head()
    for part in pixels.split(2):
        replica(host)(pixel_values=part)
    with pytest.raises(SpaceClipError, match="itself and no replica of it"):
        head()


def test_a_host_that_learns_has_the_same_gradients_and_may_compute_with_depth(host, folder, pixels):
    gradients = []
    for attached in (False, True):
        host.zero_grad()
        with attach(host, folder) if attached else contextlib.nullcontext() as head:
            loss = host(pixel_values=pixels).pooler_output.square().sum()
            if head:
                depth = head()
                assert not depth.requires_grad
                loss = loss + 0 * (depth * torch.ones((), requires_grad=True)).sum()
            loss.backward()
        gradients.append([weight.grad.clone() for weight in host.parameters() if weight.grad is not None])
    assert gradients[0]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_detaching_leaves_no_trace_and_may_be_done_again(host, folder, pixels):
    before = {name: len(module._forward_hooks) for name, module in host.named_modules()}
    with attach(host, folder) as head, attach(host, folder) as other:
        host(pixel_values=pixels)
        head.detach()
        head.detach()
        other()
    assert "detached" in repr(head)
    assert {name: len(module._forward_hooks) for name, module in host.named_modules()} == before
    assert not any(module._forward_pre_hooks for module in host.modules())
    with pytest.raises(SpaceClipError, match=r"tiny is detached from CLIPVisionModel: attach"):
        head()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 32}, r"^CLIPVisionModel \(3 blocks of width 32, .* has width 32, and .*tiny was .* one of 16"),
        ({"image_size": 64}, "has image size 64, and .* trained on one of 32"),
        ({"patch_size": 16}, "has patch size 16, and .* trained on one of 8"),
        ({"num_hidden_layers": 2}, "has no hidden state 3, which .*tiny reads"),
    ],
)
def test_a_tower_of_another_shape_is_refused_by_name(changes, said, tiny, folder):
    for allowed in (False, True):
        with pytest.raises(SpaceClipError, match=said) as refused:
            attach(bare(tiny, **changes), folder, allow_other_weights=allowed)
        assert "\n" not in str(refused.value)


def test_a_tower_of_other_weights_is_refused_unless_it_is_allowed(tiny, host, folder, pixels):
    for other in (bare(tiny), bare(tiny, num_hidden_layers=4), bare(tiny, hidden_act="gelu")):
        with pytest.raises(SpaceClipError, match=r"has other weights \(SHA-256 .*extract --host PKG:CALLABLE") as told:
            attach(other, folder, backbone=tiny)
        assert "\n" not in str(told.value)
    assert "the recorded weights" in repr(attach(host, folder))
    tuned = with_tower(bare(tiny), tiny)
    tuned.post_layernorm.weight.data[0] += 1e-3
    head = attach(tuned, folder, allow_other_weights=True)
    assert "not compared (allow_other_weights)" in repr(head)
    assert repr(head).count("\n") == 1
    tuned(pixel_values=pixels)
    assert head().shape == (len(pixels), 1, 64, 64)


def test_what_is_no_host_is_refused(tiny, host, folder):
    with pytest.raises(SpaceClipError, match="the host is a str: expected"):
        attach("tower", folder)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SpaceClipError, match=r"a Sequential of 0 \(Linear\), has no CLIP vision tower of transformers"):
        attach(torch.nn.Sequential(torch.nn.Linear(2, 2)), folder)
    two = torch.nn.ModuleDict({"left": host, "right": bare(tiny), "compiled": compiled(host)})
    with pytest.raises(SpaceClipError, match="has 2 CLIP vision towers: give the one that is meant, left, right"):
        attach(two, folder)
    with pytest.raises(SpaceClipError, match="no such folder"):
        attach(host, folder / "nowhere")
    with torch.device("meta"):
        unloaded = bare(tiny)
    with pytest.raises(SpaceClipError, match=r"weights that are not loaded \(on the meta device\): load them first"):
        attach(unloaded, folder)
    host.encoder.layers[0].mlp.register_parameter("lora_A", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(SpaceClipError, match=r"not known here \(encoder.layers.0.mlp.lora_A\): merge adapters"):
        attach(host, folder)


@pytest.mark.parametrize("size", [(48, 48), (16, 64), (33, 32)])
def test_images_of_another_size_are_refused_be_they_of_as_many_patches(size, host, head):
    host(pixel_values=torch.zeros(1, 3, *size), interpolate_pos_encoding=True)
    height, width = size
    with pytest.raises(SpaceClipError, match=f"images of {height} x {width} pixels, .* reads those of 32 x 32: give"):
        head()


def processor(**changes):
    size = {"height": 32, "width": 32}
    return CLIPImageProcessor(**({"size": size, "do_center_crop": False} | changes))


def test_a_processor_that_does_as_extraction_does_gives_the_depth_of_predict(host, folder, pictures, model):
    for given in (processor(), processor(do_resize=False), processor(do_center_crop=True, crop_size=processor().size)):
        with attach(host, folder, processor=given, precision="float32") as head:
            photo = Image.open(pictures / "rgb/scene00/0.png")
            host(**given(images=head.prepare(photo), return_tensors="pt"))
            np.testing.assert_allclose(head.depth_map(photo).depth, model.predict(photo).depth, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_mean": (0.5, 0.5, 0.5)}, r"has mean \[0.5, 0.5, 0.5\], the images of .*tiny had \[0.481"),
        ({"image_std": (0.5, 0.5, 0.5)}, r"has std \[0.5, 0.5, 0.5\]"),
        (
            {"size": {"shortest_edge": 32}},
            r"has size .*shortest_edge.*, expected .*: features are of whole",
        ),
        ({"do_center_crop": True}, "has do_center_crop True, expected False"),
        ({"resample": 2}, "has resample 2, expected 3"),
        ({"do_normalize": False}, "has do_normalize False, expected True"),
        ({"rescale_factor": 1.0}, "has rescale_factor 1.0, expected 1/255"),
    ],
)
def test_a_processor_that_does_otherwise_is_refused_by_name(changes, said, host, folder):
    with pytest.raises(SpaceClipError, match=said) as refused:
        attach(host, folder, processor=processor(**changes))
    assert "\n" not in str(refused.value)


HOST = """
import torch
from transformers.models.clip import CLIPImageProcessor
from spaceclip.extract import load_backbone

def tower():
    model = load_backbone({tiny!r}, precision="float32").model
    model.post_layernorm.weight.data[0] += 0.25  # fine-tuned
    return model

def tower_and_processor():
    return tower(), CLIPImageProcessor(size=dict(height=32, width=32), do_center_crop=False, image_mean=(0.5, 0.5, 0.5))

def fails():
    raise RuntimeError("no camera\\nat all")

number = 3
def wrong():
    return 3
"""


@pytest.fixture
def robot(project, tiny, monkeypatch):
    """A module of the user's in the current folder, that makes a host of a fine-tuned tower; the name of the module."""
    name = f"robot_{project.parent.name}_{project.name}".replace("-", "_")
    (project / f"{name}.py").write_text(HOST.format(tiny=tiny))
    monkeypatch.syspath_prepend(str(project))
    return name


def test_a_tuned_tower_is_extracted_trained_on_and_attached_to(project, robot, tiny, spaceclip, one_line, pixels):
    config = project / "configs/tiny.yaml"
    text = config.read_text()
    options = ("--config", "configs/tiny.yaml", "--out", "features/tiny")
    spaceclip("extract", *options, "--host", f"{robot}:tower")
    store = FeatureCache.open("features/tiny/train.json")
    stock = load_backbone(tiny, precision="float32").identity
    assert store.identity["backbone"]["name"] == f"host:{store.identity['backbone']['weights'][:12]}"
    assert store.identity["backbone"]["weights"] != stock["weights"]
    assert "was made with other settings: backbone" in one_line("train", "--config", "configs/tiny.yaml")
    config.write_text(text.replace(tiny, f"host:{robot}:tower"))
    spaceclip("train", "--config", "configs/tiny.yaml", "--epochs", "1")
    spaceclip("evaluate", "--config", "configs/tiny.yaml")
    tuned = BackboneSettings(name=f"host:{robot}:tower")
    encoder: Any = load_backbone(tuned.name, precision="float32")
    host = encoder.model
    model = SpaceClip.from_pretrained("results/tiny", backbone=tuned.name, device="cpu", precision="float32")
    with attach(host, "results/tiny", precision="float32") as head:
        host(pixel_values=pixels)
        photo = Image.new("RGB", (32, 24), (9, 99, 200))
        assert model.predict(photo).depth.shape == (24, 32)
        assert head().shape == (len(pixels), 1, 64, 64)
    with pytest.raises(SpaceClipError, match="has other weights"):
        attach(with_tower(bare(tiny), tiny), "results/tiny")
    record = json.loads((project / "results/tiny/checkpoint.json").read_bytes())
    assert record["backbone"] == {
        **tuned.expected_identity(),
        "revision": "a host's own weights",
        "precision": "float32",
    }


def test_a_host_s_processor_decides_the_normalisation_of_its_store(robot, spaceclip, project):
    spaceclip("extract", "--config", "configs/tiny.yaml", "--split", "test", "--host", f"{robot}:tower_and_processor")
    assert FeatureCache.open("features/tiny/test.json").identity["preprocessing"]["mean"] == [0.5, 0.5, 0.5]


def test_a_live_host_is_copied_and_left_alone(tiny, host, pixels):
    host.train().half()
    before = {name: value.clone() for name, value in host.state_dict().items()}
    random = torch.random.get_rng_state()
    backbone = host_backbone(host, precision="float32")
    assert torch.equal(torch.random.get_rng_state(), random)
    assert backbone.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [3]).states[3].dtype == torch.float32
    assert host.training
    assert all(weight.requires_grad for weight in host.parameters())
    assert all(torch.equal(value, before[name]) for name, value in host.state_dict().items())
    host.post_layernorm.bias.data[0] = torch.nan
    with pytest.raises(SpaceClipError, match=r"1 weights hold NaN or infinity \(first .*post_layernorm.bias\)"):
        host_backbone(host)
    host.encoder.layers[0].mlp.register_parameter("lora_A", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(SpaceClipError, match=r"cannot be copied .*lora_A.*: merge adapters") as refused:
        host_backbone(host)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{robot}", "expected PKG:CALLABLE, such as robot.vision:tower"),
        ("nowhere:tower", "it cannot be made here (ModuleNotFoundError: No module named 'nowhere')"),
        ("{robot}:nothing", "it cannot be made here (AttributeError"),
        ("{robot}:number", "it cannot be made here (TypeError"),
        ("{robot}:fails", "it cannot be made here (RuntimeError: no camera"),
        ("{robot}:wrong", "it made a int, expected a torch.nn.Module"),
    ],
)
def test_a_host_that_cannot_be_made_is_one_line(name, said, robot, one_line):
    name = name.format(robot=robot)
    assert said in one_line("extract", "--config", "configs/tiny.yaml", "--host", name)


def test_an_encoder_is_named_once(robot, spaceclip, tiny):
    both = ("--host", f"{robot}:tower", "--backbone", tiny)
    told = spaceclip("extract", "--config", "configs/tiny.yaml", *both, fails=True).output
    assert "--backbone and --host both name the encoder" in told
    told = spaceclip("extract", "--config", "configs/tiny.yaml", *both[:2], "--revision", "main", fails=True).output
    assert f"backbone host:{robot}:tower is not of the hub and has no revision main" in told


@pytest.mark.parametrize("name", ["host:trap:spring", "host:a/b:spring", "host:0123456789ab"])
def test_nothing_that_a_checkpoint_names_is_imported(name, trained, monkeypatch):
    file = trained / "results/tiny/checkpoint.json"
    content = CheckpointInfo.read(file).model_dump(mode="json")
    content["backbone"]["name"] = name
    file.write_bytes(seal(content))
    (trained / "trap.py").write_text("raise SystemExit('sprung')")
    monkeypatch.syspath_prepend(str(trained))
    with pytest.raises(SpaceClipError, match="is a host's own: say what makes that"):
        SpaceClip.from_pretrained(trained / "results/tiny", device="cpu").predict(Image.new("RGB", (8, 8)))


def test_the_example_answers_and_gives_depth_in_one_pass(folder, tiny, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.path", sys.path.copy())
    example, out = runpy.run_path(str(ROOT / "docs/host_example.py")), tmp_path / "depth.png"
    photo = pictures / "rgb/scene00/0.png"
    example["main"]([str(photo), "--checkpoint", str(folder), "--encoder", tiny, "--out", str(out)])
    told = capsys.readouterr().out
    assert "the recorded weights" in told
    assert re.search(r"answer: (\S+ ){5}\S+\nDepthMap 24 x 32, .* metres", told)
    with Image.open(out) as picture:
        assert picture.height >= 24
