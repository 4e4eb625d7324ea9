"""What each stage must cost at least, on the machine at hand and in the same process.

propose   one forward pass of the proposer over the image at the size it is given, without taps.
text      the bare text transformer over all texts of both models, each at its own length (in whole blocks of
          `car.vlm.model.TEXT_BLOCK` tokens) and at the best batch size. Texts read from the disk have no floor.
classify  the bare classifier, at the best batch size, on as many images as there are masks not seen in earlier steps.

The other stages do next to no arithmetic that could not be hidden behind memory: theirs is the least they have to read
and write, over the bandwidth of a large copy.

decode    the file and the pixels.
prompt    per image drawn: picture and mask read, a float32 view written.
crf       per iteration and label: energies and probabilities read and probabilities written, float32.
sam       predictions and mask proposals read, a label map written.
encode    picture and label map read, the files written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from car.bench.figures import COLD, LOOP, TOTAL, stage_of
from car.bench.inputs import PROPOSALS
from car.bench.machine import bandwidth
from car.bench.meter import median_seconds
from car.prepared import PreparedImage
from car.propose.background import without_queries
from car.recurrence import Turn
from car.vlm.model import CLIP
from car.vlm.preprocess import proposer_input
from car.vlm.tokenizer import tokenize

IMAGES = {"cpu": (1, 8), "cuda": (1, 16, 64, 256)}
TEXTS = {"cpu": (1, 8, 32), "cuda": (1, 32, 256)}
"""Batch sizes of which the best counts; other devices take a GPU's."""
FLOAT = 4


def of_stages(
    prepared: PreparedImage,
    queries: Sequence[str],
    turns: Sequence[Turn],
    drawn: Sequence[int],
    *,
    together: bool,
    read: int,
    written: int,
    repeats: int,
) -> dict[str, float]:
    """Seconds by stage, and of the whole loop.

    Args:
        prepared: the image that was worked on.
        queries: what was asked.
        turns: how the loop went.
        drawn: how many prompted images the classifier had to see in each turn.
        together: as of `PreparedImage.ask`.
        read, written: bytes of the picture's file, and of the results'.
        repeats: how often each network is timed.
    """
    c, kept = prepared.config, len(turns[-1].survivors)
    size, pixels = (prepared.working.shape[0], prepared.working.shape[1]), prepared.image.nbytes
    device = prepared.segmenter.proposer.device
    on_host, on_device = bandwidth(torch.device("cpu")), bandwidth(device)
    # Apart, each mask has a background of its own.
    labels = kept + 1 if together else 2 * kept
    least = {
        COLD: texts(prepared, queries, repeats),
        "propose": propose(prepared, repeats),
        "decode": (read + pixels) / on_host,
        "crf": crf_bytes(size, labels, c.crf_iterations if c.crf != "none" else 0) / on_device,
        "sam": sam_bytes(size, kept, PROPOSALS) / on_host,
        "encode": (pixels + pixels // 3 * FLOAT + written) / on_host,
    }
    for step, (images, seconds) in enumerate(zip(drawn, classify(prepared, drawn, repeats), strict=True), start=1):
        side = prepared.segmenter.classifier.input_resolution
        least[f"prompt {step}"] = prompt_bytes(size, side, images) / on_host
        least[f"classify {step}"] = seconds
    least[TOTAL] = sum(value for name, value in least.items() if stage_of(name) in LOOP)
    return least


def texts(prepared: PreparedImage, queries: Sequence[str], repeats: int) -> float:
    """Seconds of the bare text transformers of both models."""
    c, segmenter = prepared.config, prepared.segmenter
    background = without_queries(segmenter.background, queries)
    proposed = [c.cam_template.replace("{}", word) for word in (*queries, *background)]
    words = [*queries, *(background if c.against_background else [])]
    judged = [template.replace("{}", word) for template in segmenter.templates for word in words]
    if segmenter.classifier is segmenter.proposer:
        return text(segmenter.proposer, [*proposed, *judged], repeats)
    return text(segmenter.proposer, proposed, repeats) + text(segmenter.classifier, judged, repeats)


@torch.inference_mode()
def propose(prepared: PreparedImage, repeats: int) -> float:
    """Seconds of the proposer's bare forward pass."""
    clip = prepared.segmenter.proposer
    x = proposer_input(prepared.working, clip.patch_size or 1, prepared.config.proposer_side).to(clip.device)
    return median_seconds(lambda: clip.visual(x), repeats, clip.device)


@torch.inference_mode()
def classify(prepared: PreparedImage, images: Sequence[int], repeats: int) -> list[float]:
    """Seconds of the classifier's bare forward passes in each step, which has to see so many images."""
    clip, side = prepared.segmenter.classifier, prepared.segmenter.classifier.input_resolution
    least = torch.inf
    for batch in batches(IMAGES, max(images, default=0), clip.device):
        x = torch.randn(batch, 3, side, side, device=clip.device)
        seconds = median_seconds(lambda x=x: clip.encode_image(x), repeats, clip.device)  # type: ignore[misc]
        least = min(least, seconds / batch)
    return [float(least * count) if count else 0.0 for count in images]


@torch.inference_mode()
def text(clip: CLIP, texts: Sequence[str], repeats: int) -> float:
    """Seconds of the bare text transformer over these texts."""
    tokens = tokenize(list(dict.fromkeys(texts)), context_length=clip.context_length)
    total = 0.0
    for length, count in Counter(clip.blocks(tokens.argmax(dim=-1) + 1).tolist()).items():
        row = tokens[clip.blocks(tokens.argmax(dim=-1) + 1) == length][:1].to(clip.device)
        least = torch.inf
        for batch in batches(TEXTS, count, clip.device):
            x = row.expand(batch, -1)
            seconds = median_seconds(lambda x=x: clip.encode_text(x), repeats, clip.device)  # type: ignore[misc]
            least = min(least, seconds / batch)
        total += least * count
    return total


def batches(sizes: Mapping[str, Sequence[int]], most: int, device: torch.device) -> list[int]:
    """Batch sizes to try where there are `most` items; the smallest is always tried."""
    smallest, *more = sizes.get(device.type, sizes["cuda"])
    return [smallest, *(size for size in more if size <= most)]


def prompt_bytes(size: tuple[int, int], side: int, images: int) -> int:
    """Bytes that drawing so many views of `side` pixels of a picture (H, W) has to move."""
    height, width = size
    return images * (height * width * (3 + 1) + side * side * 3 * FLOAT)


def crf_bytes(size: tuple[int, int], labels: int, iterations: int) -> int:
    """Bytes that mean field over so many labels has to move."""
    return 3 * iterations * labels * size[0] * size[1] * FLOAT


def sam_bytes(size: tuple[int, int], predictions: int, proposals: int) -> int:
    """Bytes that matching predictions with mask proposals has to move."""
    return size[0] * size[1] * (predictions + proposals + FLOAT)
