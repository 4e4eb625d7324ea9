"""`car models`: what can be loaded, and what is here already."""

from pathlib import Path

import click


@click.command("models")
@click.option("--weights-dir", type=click.Path(path_type=Path), help="Where checkpoints are kept.")
def command(weights_dir: Path | None) -> None:
    """List the model sets and checkpoints, and which of them are on this machine.

    Wherever a name is accepted, the path of a checkpoint is, too (OpenAI's archive, a state dict, safetensors), and
    with the extra [openclip] a name like open_clip:ViT-B-16/laion2b_s34b_b88k.

    \b
    Examples:
      car models
      car segment photo.jpg -q cat --model openai
      car segment photo.jpg -q cat --model my_clip.safetensors --classifier ViT-L/14
    """
    from car.cli.table import print_table
    from car.vlm.registry import CHECKPOINTS, MINI, MODEL_SETS, find_checkpoint

    sets = []
    for name, models in MODEL_SETS.items():
        roles = ("embedded" if role == str(MINI) else role for role in (models.proposer, models.classifier))
        sets.append((name, *roles, models.description))
    print_table(("model set", "proposer", "classifier", "what it is"), sets)
    click.echo()
    checkpoints = []
    for name, checkpoint in CHECKPOINTS.items():
        path = find_checkpoint(name, weights_dir)
        checkpoints.append((name, f"{checkpoint.megabytes} MB", str(path or "not here: downloaded on first use")))
    print_table(("checkpoint", "size", "where"), checkpoints)
