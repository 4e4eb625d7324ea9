"""`car refer`: the one thing an expression means."""

from pathlib import Path
from typing import Any

import click

from car.cli.options import MODEL, SETTINGS, settings, with_options
from car.referring.defaults import PROPOSALS_HELP


@click.command("refer")
@click.argument("image", type=str)
@click.argument("expressions", nargs=-1, required=True)
@click.option("--method", help="car, global-local, tas, hybridgl or prompt-ris.  [default: car]")
@click.option("--proposals", help=PROPOSALS_HELP)
@click.option("--parser", help="auto, built-in, spacy or spacy:NAME.  [default: auto]")
@click.option("--captions", help="Of tas: built-in, blip2, git, a name or a file.  [default: built-in]")
@click.option("--one-object", is_flag=True, help="The expressions all mean one object: one mask for them together.")
@with_options(MODEL, SETTINGS)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: out]")
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    image: str,
    expressions: tuple[str, ...],
    one_object: bool,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Find what EXPRESSIONS refer to in IMAGE, one mask each.

    CaR answers from the expression alone, and may answer that there is no such thing. Prompt-RIS is trained for it, by
    `car train prompt-ris`, and takes its --model from there. The others choose among mask proposals. The embedded CLIP
    knows things and colours, not sides: with it, "left" is understood by tas and hybridgl, which have rules for it.

    \b
    Examples:
      car refer photo.jpg "the red umbrella"
      car refer photo.jpg "the left dog" "the cat" --method hybridgl
      car refer photo.jpg "man in the red jacket" --method tas --model openai --proposals sam_vit_h
      car refer photo.jpg "the big dog" "dog on the right" --one-object
      car refer photo.jpg "the left dog" --method hybridgl --set as_released=true
      car refer photo.jpg "the left dog" --method prompt-ris --model runs/ris/best.safetensors
    """
    from car.cli.run import output_stems, refuse_existing
    from car.io import read_image
    from car.referring.load import load_referrer
    from car.referring.saving import existing_referrals, save_referrals

    given = settings(options)
    folder, (stem,) = out or Path("out"), output_stems([Path(image)])
    read_image(image)  # what is wrong with it is said before models are loaded
    if not overwrite:
        refuse_existing(existing_referrals(folder, stem))
    model, classifier = options.pop("model") or "mini", options.pop("classifier")
    chosen = {key: value for key, value in options.items() if value is not None}
    method = chosen.pop("method", "car")
    referrer = load_referrer(method, model if classifier is None else (model, classifier), **chosen, **given)
    prepared = referrer.prepare(image)
    answers = [prepared.refer_object(expressions)] if one_object else [prepared.refer(each) for each in expressions]
    picture = save_referrals(answers, folder, stem, image_path=image, overwrite=overwrite)
    if not quiet:
        for each in answers:
            found = f"{each.score:.3g} ({each.mask.mean():.1%})" if each.found else "nothing found"
            click.echo(f"{each.expression}: {found}")
        click.echo(f"-> {picture}")
    return 0
