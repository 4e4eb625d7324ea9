import hashlib
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch

from car.errors import CheckpointError, InputError, MissingError
from car.vlm import download, registry
from car.vlm.download import Download, fetch, weights_folder
from car.vlm.registry import CHECKPOINTS, MODEL_SETS, find_checkpoint, load_clip, load_model_set
from car.vlm.tokenizer import tokenize
from tests.models import random_resnet, random_vit

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture
def web(tmp_path):
    """A web server on this machine that serves a folder; yields the folder and its address."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def end_headers(self):
            if self.path == "/short.pt":
                # Announces more than it sends.
                self._headers_buffer = [h for h in self._headers_buffer if b"Content-Length" not in h]
                self.send_header("Content-Length", "1000000")
            super().end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def entry(address: str, name: str, content: bytes) -> Download:
    return Download("Test-Net", address + name, hashlib.sha256(content).hexdigest(), 1)


def test_weights_are_downloaded_once_and_verified(web, tmp_path):
    folder, address = web
    (folder / "net.pt").write_bytes(b"weights")
    cache = tmp_path / "deep" / "cache"
    path = fetch(entry(address, "net.pt", b"weights"), cache)
    assert path == cache / "net.pt"
    assert path.read_bytes() == b"weights"
    (folder / "net.pt").unlink()
    assert fetch(entry(address, "net.pt", b"weights"), cache) == path


def test_a_downloaded_file_is_not_read_again_to_verify_it(web, tmp_path, monkeypatch):
    folder, address = web
    (folder / "net.pt").write_bytes(b"weights")
    fetch(entry(address, "net.pt", b"weights"), tmp_path)
    monkeypatch.delattr(download.hashlib, "file_digest")
    fetch(entry(address, "net.pt", b"weights"), tmp_path)


def test_a_downloaded_file_has_the_permissions_of_any_other(web, tmp_path):
    folder, address = web
    (folder / "net.pt").write_bytes(b"weights")
    path = fetch(entry(address, "net.pt", b"weights"), tmp_path)
    assert path.stat().st_mode == (folder / "net.pt").stat().st_mode


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong.pt", "sends another file"),
        ("short.pt", "broke off after 0 of 1 MB"),
        ("absent.pt", "not found"),
        ("refused", "refused"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(web, tmp_path, name, reason):
    folder, address = web
    if name == "refused":
        address = "http://127.0.0.1:9/"
    elif name != "absent.pt":
        (folder / name).write_bytes(b"something else")
    with pytest.raises(MissingError, match=f"(?i)Test-Net.*{reason}.*--model mini") as error:
        fetch(entry(address, name, b"weights"), tmp_path / "cache")
    assert str(tmp_path / "cache") in str(error.value)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_corrupt_file_in_the_cache_is_refused_and_named(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"spoiled")
    with pytest.raises(CheckpointError, match=r"net\.pt.*damaged"):
        fetch(entry("http://127.0.0.1:9/", "net.pt", b"weights"), tmp_path)


def test_a_file_that_changes_after_it_was_verified_is_verified_again(tmp_path):
    download = entry("http://127.0.0.1:9/", "net.pt", b"weights")
    (tmp_path / "net.pt").write_bytes(b"weights")
    fetch(download, tmp_path)
    (tmp_path / "net.pt").write_bytes(b"w3ights!")
    with pytest.raises(CheckpointError):
        fetch(download, tmp_path)


def test_an_interrupted_download_leaves_nothing(web, tmp_path, monkeypatch):
    folder, address = web
    (folder / "net.pt").write_bytes(b"weights")

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(entry(address, "net.pt", b"weights"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_folder_of_the_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "env"))
    assert weights_folder() == tmp_path / "env"
    assert weights_folder(tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.delenv("CAR_CACHE")
    assert weights_folder().parts[-2:] == (".cache", "clip")


def test_names_lead_to_checkpoints(tmp_path, monkeypatch):
    for name, checkpoint in CHECKPOINTS.items():
        assert checkpoint.sha256 in checkpoint.url
        assert len(checkpoint.sha256) == 64
        assert find_checkpoint(name, tmp_path) is None
    clip = random_vit()
    torch.save(clip.state_dict(), tmp_path / "ViT-B-16.pt")
    content = (tmp_path / "ViT-B-16.pt").read_bytes()
    monkeypatch.setitem(registry.CHECKPOINTS, "ViT-B/16", entry("http://127.0.0.1:9/", "ViT-B-16.pt", content))
    models = load_model_set("openai-b16", weights_dir=tmp_path, **CPU)
    assert models.proposer is models.classifier
    assert models.name == "openai-b16"


def test_mini_is_always_there():
    models = load_model_set("mini", **CPU)
    assert models.proposer is models.classifier
    assert models.proposer.patch_size == 8
    assert models.defaults == MODEL_SETS["mini"].defaults


def test_a_set_of_one_model_is_a_name_for_that_model(monkeypatch):
    assert load_clip("mini").patch_size == 8
    with pytest.raises(InputError, match="'openai' is a set of two models; name one of them: ViT-B/16 or ViT-L/14"):
        load_clip("openai")
    absent = str(registry.MINI) + "x"
    monkeypatch.setattr(registry, "MINI", absent)
    monkeypatch.setitem(registry.MODEL_SETS, "mini", registry.ModelSet(absent, absent, ""))
    with pytest.raises(MissingError, match="embedded model"):
        load_clip("mini")


def test_a_pair_takes_each_role_from_its_place(tmp_path):
    judge = random_resnet()
    models = load_model_set(("mini", judge), **CPU)
    assert models.proposer.patch_size == 8
    assert models.classifier is judge
    assert registry.roles(("mini", "openai"))[:3] == (str(registry.MINI), "ViT-L/14", "mini+openai")
    with pytest.raises(InputError, match="pair"):
        load_model_set(("mini",), **CPU)


def openais_model(vision):
    """A small model of OpenAI's own class, from its file alone, with random weights: what `clip.load` returns."""
    path = next(file for file in distribution("openai-clip").files if file.match("clip/model.py")).locate()
    spec = spec_from_file_location("openais_model", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    text = {"context_length": 77, "vocab_size": 49408, "transformer_width": 64, "transformer_heads": 1}
    model = module.CLIP(24, **vision, **text, transformer_layers=2).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module, model


VIT = {"image_resolution": 48, "vision_layers": 3, "vision_width": 128, "vision_patch_size": 8}
RESNET = {"image_resolution": 64, "vision_layers": (1, 2, 1, 1), "vision_width": 16, "vision_patch_size": None}


@pytest.mark.parametrize("vision", [VIT, RESNET], ids=["vit", "resnet"])
def test_a_model_of_openais_class_is_accepted_as_it_is(vision):
    _, theirs = openais_model(vision)
    ours = load_clip(theirs)
    images = torch.randn(2, 3, ours.input_resolution, ours.input_resolution)
    tokens = tokenize(["a cat", "a photo of two dogs, one of them black"])
    torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.encode_text(tokens), theirs.encode_text(tokens), atol=1e-5, rtol=1e-5)
    assert ours.logit_scale == theirs.logit_scale


def test_a_half_precision_model_is_accepted_and_left_as_it_is():
    package, theirs = openais_model(VIT)
    package.convert_weights(theirs)
    ours = load_model_set(theirs, **CPU).proposer
    assert ours.dtype == torch.float32
    assert torch.equal(ours.visual.conv1.weight, theirs.visual.conv1.weight.float())
    assert theirs.visual.conv1.weight.dtype == torch.float16


def test_a_trace_of_openais_model_is_read_as_an_object_and_as_an_archive(tmp_path):
    """Such traces, with three numbers added, are what OpenAI distributes and what `clip.load(jit=True)` returns."""
    _, theirs = openais_model(VIT)
    for name, value in {"input_resolution": 48, "context_length": 77, "vocab_size": 49408}.items():
        vars(theirs).pop(name, None)
        theirs.register_buffer(name, torch.tensor(value))
    images, tokens = torch.randn(2, 3, 48, 48), tokenize(["a cat", "two dogs"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = torch.jit.trace(theirs, (images, tokens))
        torch.jit.save(trace, str(tmp_path / "trace.pt"))
    for spec in (trace, tmp_path / "trace.pt"):
        ours = load_clip(spec)
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.encode_text(tokens), theirs.encode_text(tokens), atol=1e-5, rtol=1e-5)


def test_a_module_that_is_no_clip_is_refused():
    with pytest.raises(CheckpointError, match="Not a CLIP"):
        load_clip(torch.nn.Linear(3, 4))


@pytest.mark.parametrize(("spec", "message"), [("minni", "'mini'"), ("ViT-B/61", "'ViT-B/16'"), (3, "int")])
def test_what_is_no_model_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        load_clip(spec)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="Test-Net"):
        fetch(entry("http://127.0.0.1:9/", "net.pt", b""), tmp_path / "file" / "cache")
