import copy
import json
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub.errors as hub
import pytest
import requests
import torch
from safetensors.torch import load_file, save_file
from spaceclip.cache import SpaceClipError
from spaceclip.extract import BackboneSettings, load_backbone
from spaceclip.extract.towers import weights
from spaceclip.extract.towers.clip import weights_hash
from transformers.models.bert import BertConfig
from transformers.models.clip import CLIPModel, CLIPVisionConfig, CLIPVisionModel

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)


def _tower(model: Any) -> Any:
    """The vision tower, which transformers 4 wraps once more."""
    return getattr(model, "vision_model", model)


def _by_hand(model: Any, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Hidden states and pooled vector from the tower's parts, in float64, without transformers' own forward."""
    model = _tower(copy.deepcopy(model).double())
    x = (images.double() / 255 - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)
    tokens = model.embeddings.patch_embedding(x).flatten(2).transpose(1, 2)
    first = model.embeddings.class_embedding.expand(len(x), 1, -1)
    hidden = model.pre_layrnorm(torch.cat([first, tokens], 1) + model.embeddings.position_embedding.weight)
    states = [hidden]
    for block in model.encoder.layers:
        normed = block.layer_norm1(hidden)
        heads = [
            getattr(block.self_attn, name)(normed).unflatten(2, (2, 16)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        ]
        scores = torch.softmax(heads[0] @ heads[1].transpose(2, 3) / 4, -1) @ heads[2]
        hidden = hidden + block.self_attn.out_proj(scores.transpose(1, 2).flatten(2))
        inner = block.mlp.fc1(block.layer_norm2(hidden))
        hidden = hidden + block.mlp.fc2(inner * torch.sigmoid(1.702 * inner))
        states.append(hidden)
    return states, model.post_layernorm(hidden[:, 0])


def test_states_and_pooled_vector_are_those_of_the_method(clip_folder, images):
    backbone: Any = load_backbone(str(clip_folder), precision="float32")
    states, pooled = _by_hand(backbone.model, images)
    features = backbone.encode(images, [0, 1, 3])
    for layer in (0, 1, 3):
        assert features.states[layer].dtype == torch.float32
        torch.testing.assert_close(features.states[layer].double(), states[layer][:, 1:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.pooled.double(), pooled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_states_are_views_of_the_very_ones_that_transformers_gives(clip_folder, images, precision):
    backbone: Any = load_backbone(str(clip_folder), precision=precision)
    given = []
    hook = backbone.model.register_forward_pre_hook(
        lambda _model, _args, named: given.append(named["pixel_values"]), with_kwargs=True
    )
    features = backbone.encode(images, [3, 0, 2])
    hook.remove()
    assert not any(module._forward_hooks for module in backbone.model.modules())
    with torch.inference_mode():
        expected = backbone.model(given[0], output_hidden_states=True)
    assert list(features.states) == [3, 0, 2]
    for layer, state in features.states.items():
        assert torch.equal(state, expected.hidden_states[layer][:, 1:])
        assert state.shape == (2, 16, 32)
        # The class token is before it: nothing was copied.
        assert state.untyped_storage().nbytes() == 2 * 17 * 32 * state.element_size()
    assert torch.equal(features.pooled, expected.pooler_output.float())


def test_two_threads_get_each_the_states_of_its_own_images(clip_folder):
    """As two runs do that share a worker of a cluster, and its encoder."""
    backbone = load_backbone(str(clip_folder), precision="float32")
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (200, 1, 3, 32, 32), dtype=torch.uint8, generator=generator)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda image: backbone.encode(image, (0, 2)).states, images))
    for image, found in zip(images, together, strict=True):
        alone = backbone.encode(image, (0, 2)).states
        assert all(torch.equal(alone[layer], found[layer]) for layer in alone)


def test_hidden_states_that_nobody_asked_for_are_not_kept(clip_folder, images):
    backbone: Any = load_backbone(str(clip_folder), precision="float32")
    outputs, alive = [], []
    blocks = _tower(backbone.model).encoder.layers
    for block in blocks:
        block.register_forward_hook(
            lambda _block, _given, output: outputs.append(weakref.ref(output[0] if type(output) is tuple else output))
        )
    blocks[-1].register_forward_hook(lambda *_: alive.append([output() is not None for output in outputs[:2]]))
    backbone.encode(images, [0])
    outputs.clear()
    backbone.encode(images, [1])
    # The second block's is what the third is given.
    assert alive == [[False, True], [True, True]]


def test_a_whole_clip_gives_its_vision_tower_and_no_text_tower(clip_folder):
    backbone: Any = load_backbone(str(clip_folder), precision="float32")
    whole: Any = CLIPModel.from_pretrained(clip_folder)
    names = dict(backbone.model.named_parameters())
    assert not [name for name in names if "text" in name or "token_embedding" in name or "logit_scale" in name]
    assert sum(p.numel() for p in names.values()) == sum(p.numel() for p in whole.vision_model.parameters())
    loaded = _tower(backbone.model).state_dict()
    for name, tensor in whole.vision_model.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_the_paper_s_tower_has_85_799_424_parameters_and_196_patches():
    with torch.device("meta"):
        model: Any = CLIPVisionModel(CLIPVisionConfig(**weights.SHAPES["openai/clip-vit-base-patch16"]))
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_799_424
    assert _tower(model).embeddings.num_patches == 196


def test_no_parameter_gets_a_gradient_or_ever_changes(clip_folder, images):
    backbone: Any = load_backbone(str(clip_folder), precision="float32")
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    features = backbone.encode(images, [0, 3])
    reader = torch.nn.Linear(32, 1)
    optimizer = torch.optim.AdamW([*reader.parameters(), *backbone.model.parameters()], lr=1.0)
    reader(features.states[3].clone().float()).sum().backward()
    optimizer.step()
    assert not backbone.model.training
    for name, parameter in backbone.model.named_parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None, name
    for name, tensor in backbone.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert reader.weight.grad is not None


def test_random_weights_follow_their_seed_and_say_so(tiny_config, images):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, again, other = (load_backbone(f"random:{tiny_config}", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.identity == again.identity
    assert first.identity["weights"] != other.identity["weights"]
    assert first.identity["name"].startswith("random:")
    assert first.identity["revision"] == "random weights, seed 1"
    assert torch.equal(first.encode(images, [3]).states[3], again.encode(images, [3]).states[3])


def test_random_weights_do_not_depend_on_where_their_configuration_lies(tiny_config, tmp_path, monkeypatch):
    there = tmp_path / "there" / Path(tiny_config).parent.name
    there.mkdir(parents=True)
    shutil.copy(tiny_config, there)
    monkeypatch.chdir(there.parent)
    names = [f"random:{tiny_config}", f"random:{there.name}/{Path(tiny_config).name}"]
    identities = [load_backbone(name, precision="float32").identity for name in names]
    assert identities[0] == identities[1]
    wanted = [BackboneSettings(name=name).expected_identity() for name in names]
    assert wanted[0] == wanted[1]
    assert wanted[0].items() <= identities[0].items()


def test_a_model_s_identity_does_not_depend_on_where_its_folder_lies(clip_folder, tmp_path):
    moved = tmp_path / clip_folder.name
    moved.symlink_to(clip_folder)
    assert load_backbone(str(moved)).identity == load_backbone(str(clip_folder)).identity


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_stays_near_float32(clip_folder, images, precision):
    exact = load_backbone(str(clip_folder), precision="float32").encode(images, [3]).states[3].float()
    low = load_backbone(str(clip_folder), precision=precision)
    found = low.encode(images, [3]).states[3].float()
    assert low.identity["precision"] == precision
    assert 0 < (found - exact).norm() / exact.norm() < 0.02


def test_a_layer_that_the_tower_lacks_is_refused(clip_folder):
    with pytest.raises(SpaceClipError, match=r"layers: \[4, -1\] asked for, but tiny-clip has hidden states 0 to 3"):
        load_backbone(str(clip_folder)).check_layers([0, 4, -1])


def test_an_unknown_precision_is_refused(clip_folder):
    with pytest.raises(SpaceClipError, match="'half' is unknown; choose auto, float32"):
        load_backbone(str(clip_folder), precision="half")


def test_weights_missing_from_the_file_are_never_made_up(clip_folder, tmp_path):
    folder = tmp_path / "torn"
    folder.mkdir()
    (folder / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    tensors = load_file(clip_folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        SpaceClipError, match=r"1 weights of the vision tower are not in its file \(first .*post_layernorm"
    ):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weight: weight[:, :5],
            r"1 weights .* \(first \S*layers\.1\.mlp\.fc1\.weight: (\[64, 5\]|another shape), expected \[64, 32\]\)",
        ),
        (
            lambda weight: weight * torch.nan,
            r"1 weights hold NaN or infinity \(first \S*layers\.1\.mlp\.fc1\.weight\).* fetch",
        ),
        (lambda weight: weight / 0, "hold NaN or infinity"),
    ],
)
def test_weights_that_cannot_be_are_named(clip_folder, tmp_path, change, message):
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    tensors = load_file(clip_folder / "model.safetensors")
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SpaceClipError, match=message) as caught:
        load_backbone(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_torn_weights_file_is_one_clear_line(clip_folder, tmp_path):
    folder = tmp_path / "torn"
    folder.mkdir()
    (folder / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(SpaceClipError, match="its weights cannot be loaded"):
        load_backbone(str(folder))


def test_another_kind_of_model_is_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(SpaceClipError, match="a model of type 'bert', a CLIP model was expected"):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize("name", ["", "clip", "a/b/c", "/nowhere/at/all"])
def test_a_name_that_can_be_no_model_says_what_could(name):
    with pytest.raises(SpaceClipError, match=r"neither a hub id.* embedded:clip-tiny"):
        load_backbone(name)


def _response(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            lambda: hub.LocalEntryNotFoundError("no connection"),
            "the hub cannot be reached and no copy is on this machine",
        ),
        (lambda: hub.OfflineModeIsEnabled("offline"), "the hub did not answer"),
        (lambda: TimeoutError("timed out"), "the hub did not answer"),
    ],
)
def test_no_network_says_so_and_how_to_do_without(monkeypatch, error, message):
    def fail(*_args, **_kwargs):
        raise error()

    monkeypatch.setattr(weights, "hub_file", fail)
    with pytest.raises(SpaceClipError, match=message) as raised:
        load_backbone("openai/clip-vit-base-patch16")
    assert "\n" not in str(raised.value)
    assert "save_pretrained" in str(raised.value)


def test_the_pinned_revision_is_asked_for(monkeypatch):
    asked = {}

    def fail(name, file, revision):
        asked.update(name=name, file=file, revision=revision)
        raise hub.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(weights, "hub_file", fail)
    with pytest.raises(SpaceClipError):
        load_backbone("openai/clip-vit-base-patch16")
    assert asked["revision"] == "57c216476eefef5ab752ec549e440a49ae4ae5f3"
    with pytest.raises(SpaceClipError):
        load_backbone("openai/clip-vit-base-patch16", revision="abc")
    assert asked["revision"] == "abc"


def _ramps(**settings) -> Any:
    """A tower whose every weight runs from 0 to 1, whatever it is called."""
    model = CLIPVisionModel(CLIPVisionConfig(**(VISION | settings)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(0, 1, parameter.numel()).view_as(parameter))
    return model


def test_the_weights_hash_is_the_same_under_every_version_of_transformers():
    # `make test-lowest` holds another version against the same number.
    assert weights_hash(_ramps()) == "256dca77482144cd61b690ecef6556b81856b4cb55645548b1a99f56bad8c62b"


def test_the_weights_hash_does_not_hold_the_library_s_names():
    model = _ramps()
    other = copy.deepcopy(model)
    other.state_dict = lambda: {
        f"vision_model.{name}": value for name, value in reversed(_tower(model).state_dict().items())
    }
    assert weights_hash(other) == weights_hash(model)
    other.state_dict = lambda: {"encoder.layers.0.mlp.gate.weight": torch.zeros(1)}
    with pytest.raises(
        SpaceClipError, match=r"transformers \S+ has a part .* not known here \(encoder.layers.0.mlp.gate"
    ):
        weights_hash(other)


@pytest.mark.parametrize(
    "settings", [{"num_attention_heads": 4}, {"hidden_act": "gelu"}, {"layer_norm_eps": 1e-6}, {"image_size": 40}]
)
def test_the_weights_hash_follows_what_changes_the_features(settings):
    assert weights_hash(_ramps(**settings)) != weights_hash(_ramps())


def test_the_weights_hash_follows_every_weight():
    model = _ramps()
    hashes = {weights_hash(model)}
    for parameter in model.parameters():
        parameter.data.view(-1)[0] += 1
        hashes.add(weights_hash(model))
    assert len(hashes) == 1 + len(list(model.parameters()))


def test_a_folder_in_half_precision_has_the_hash_of_its_values(tmp_path):
    model = _ramps().half()
    model.save_pretrained(tmp_path / "half" / "tower")
    model.float().save_pretrained(tmp_path / "full" / "tower")
    half, full = (load_backbone(str(tmp_path / kind / "tower"), precision="float32") for kind in ("half", "full"))
    assert half.identity == full.identity


@pytest.fixture
def tf32():
    """The switches of CUDA's float32, both on."""
    switches: Any = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = True
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.mark.usefixtures("tf32")
def test_float32_means_float32_on_cuda_too(tiny_config):
    load_backbone(f"random:{tiny_config}", precision="float16")
    assert torch.backends.cudnn.allow_tf32
    load_backbone(f"random:{tiny_config}", precision="float32")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


class Watched(torch.Tensor):
    """Notes how it is copied to a device."""

    def to(self, *given, **how):
        self.how = how
        return super().to(*given, **how).as_subclass(torch.Tensor)


def test_a_copy_that_is_not_to_cuda_is_waited_for(tiny_config, images):
    backbone = load_backbone(f"random:{tiny_config}", precision="float32")
    flipped = images.flip(-1).as_subclass(Watched)
    backbone.encode(flipped, [0])
    assert flipped.how == {"non_blocking": False}


def _edited(folder, target, **changes):
    """A copy of a model's folder whose vision configuration is edited."""
    shutil.copytree(folder, target)
    content = json.loads((target / "config.json").read_text())
    content["vision_config"] |= changes
    (target / "config.json").write_text(json.dumps(content | {key: changes[key] for key in changes if "attn" in key}))
    return str(target)


def test_what_attention_runs_is_not_the_folder_s_to_say(clip_folder, images, tmp_path):
    asking = _edited(
        clip_folder,
        tmp_path / clip_folder.name,
        attn_implementation="owner/kernels",
        _attn_implementation="owner/kernels",
    )
    found, plain = load_backbone(asking, precision="float32"), load_backbone(str(clip_folder), precision="float32")
    assert found.identity == plain.identity
    assert torch.equal(found.encode(images, [3]).states[3], plain.encode(images, [3]).states[3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 0}, "patch_size: Input should be greater than 0"),
        ({"patch_size": 64}, "patches of 64 pixels do not fit an image of 32"),
        ({"num_attention_heads": 5}, "hidden_size 32 is no multiple of 5 heads"),
        ({"image_size": [32, 32]}, "image_size: Input should be a valid integer"),
        ({"image_size": 10**400}, "a tower of more than"),
        ({"hidden_size": 2**60, "num_attention_heads": 1}, "a tower of more than 4,000,000,000 weights"),
        ({"num_hidden_layers": 10**9}, "a tower of more than"),
        ({"hidden_act": "owner/kernel"}, "hidden_act: Input should be 'quick_gelu' or 'gelu'"),
        ({"layer_norm_eps": None}, "layer_norm_eps: Input should be a valid number"),
        ({"hidden_size": 16}, r"weights do not fit its config.json .*, expected \["),
        ({"num_hidden_layers": 5}, "32 weights of the vision tower are not in its file"),
    ],
)
def test_a_folder_whose_configuration_cannot_be_is_one_line(clip_folder, tmp_path, changes, message):
    folder = _edited(clip_folder, tmp_path / "odd", **changes)
    with pytest.raises(SpaceClipError, match=message) as caught:
        load_backbone(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_a_tower_that_either_version_of_transformers_saved_is_loaded(tmp_path, prefix):
    model = _ramps()
    model.save_pretrained(tmp_path)
    tensors = {f"{prefix}{name}": value for name, value in _tower(model).state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(str(tmp_path)).identity["weights"] == weights_hash(model)
