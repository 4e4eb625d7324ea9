import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from car.errors import CheckpointError, InputError
from car.vlm.checkpoints import read_state_dict
from car.vlm.registry import load_clip
from car.vlm.torchscript import rebuild
from tests.models import random_resnet, random_vit

EXTRA = {"input_resolution": torch.tensor(48), "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}


class Archive(nn.Module):
    """A module tree with given tensors, as scripting wants it."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            head, dot, rest = name.partition(".")
            if dot:
                children.setdefault(head, {})[rest] = tensor
            elif tensor.is_floating_point():
                self.register_parameter(head, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(head, tensor)
        for head, inner in children.items():
            self.add_module(head, Archive(inner))

    def forward(self) -> int:
        return 0


def openai_archive(clip, path) -> None:
    """A TorchScript archive as OpenAI distributes them: half precision, norms in single, three extra numbers."""
    half = {k: v.half() if v.ndim > 1 else v for k, v in clip.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Archive(half | EXTRA)), str(path))


@pytest.mark.parametrize("build", [random_vit, random_resnet])
@pytest.mark.parametrize("form", ["archive", "state dict", "wrapped", "safetensors"])
def test_every_form_gives_the_same_model(tmp_path, build, form):
    clip = build()
    state = {k: v.clone() for k, v in clip.state_dict().items()}
    path = tmp_path / ("clip.safetensors" if form == "safetensors" else "clip.pt")
    if form == "archive":
        openai_archive(clip, path)
    elif form == "safetensors":
        save_file(state | EXTRA, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        torch.save(state | EXTRA, path)
    again = load_clip(path)
    images = torch.randn(1, 3, clip.input_resolution, clip.input_resolution)
    tokens = torch.tensor([[49406, 320, 2368, 49407]])
    for theirs, ours in (
        (clip.encode_image(images), again.encode_image(images)),
        (clip.encode_text(tokens), again.encode_text(tokens)),
    ):
        assert torch.cosine_similarity(theirs, ours).min() > (0.999 if form == "archive" else 1 - 1e-6)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut short", "flipped"])
def test_a_damaged_file_is_refused_and_named(tmp_path, suffix, damage):
    path = tmp_path / f"broken{suffix}"
    state = {k: v.clone() for k, v in random_vit().state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    data = path.read_bytes()
    content = {"empty": b"", "text": b"hello", "cut short": data[: len(data) // 2], "flipped": data[::-1]}[damage]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"broken{suffix}"):
        load_clip(path)


@pytest.mark.parametrize("build", [random_vit, random_resnet])
def test_an_archive_gives_the_state_dict_torch_would_load(tmp_path, build):
    openai_archive(build(), tmp_path / "clip.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(tmp_path / "clip.pt").state_dict()
    found = read_state_dict(tmp_path / "clip.pt")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


def test_a_traced_archive_is_read_too(tmp_path):
    """OpenAI's archives are traces, of modules whose classes have mangled names."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, torch.ones(1, 3)), str(tmp_path / "traced.pt"))
    found = read_state_dict(tmp_path / "traced.pt")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def rewritten(source, target, *, change=None, compression=zipfile.ZIP_STORED):
    """A copy of an archive with its pickle changed, or compressed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if change and name.endswith("/data.pkl") else data)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem"), "names os.system"),
        (lambda data: data.replace(b"collections\nOrderedDict", b"builtins\nprint"), "names builtins.print"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (None, "compressed"),
    ],
    ids=["a command", "a function", "half a pickle", "compressed"],
)
def test_an_archive_with_anything_but_weights_is_refused(tmp_path, capfd, change, message):
    openai_archive(random_vit(), tmp_path / "clip.pt")
    compression = zipfile.ZIP_STORED if change else zipfile.ZIP_DEFLATED
    evil = rewritten(tmp_path / "clip.pt", tmp_path / "evil.pt", change=change, compression=compression)
    with pytest.raises(CheckpointError, match=rf"evil\.pt.*{message}"):
        read_state_dict(evil)
    assert capfd.readouterr().out == ""


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path):
    openai_archive(random_vit(), tmp_path / "clip.pt")
    data = bytearray((tmp_path / "clip.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "clip.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"clip\.pt.*damaged"):
        read_state_dict(tmp_path / "clip.pt")


def test_a_tensor_that_reaches_beyond_its_storage_is_refused():
    with pytest.raises(RuntimeError, match="out of bounds"):
        rebuild(torch.zeros(4), 2, (3,), (1,))


def test_saved_masks_are_left_out_and_names_do_not_decide_the_format(tmp_path):
    save_file({"weight": torch.ones(2), "transformer.resblocks.0.attn_mask": torch.ones(2)}, tmp_path / "clip.pt")
    assert read_state_dict(tmp_path / "clip.pt").keys() == {"weight"}


class Surprise:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"weights": Surprise()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        read_state_dict(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


def test_a_checkpoint_of_something_else_is_refused_and_named(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt.*Not a CLIP"):
        load_clip(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match=r"list\.pt.*list"):
        load_clip(tmp_path / "list.pt")


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pt"):
        read_state_dict(tmp_path / "nowhere.pt")
