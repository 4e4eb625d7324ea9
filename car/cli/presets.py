"""`car presets`: named configurations."""

import click


@click.command("presets")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the presets, or show all settings of one.

    \b
    Examples:
      car presets
      car presets voc21 > mine.yaml      # edit it, then: car segment ... --config mine.yaml
    """
    from car.config import list_presets, load_preset, resolve

    if name is not None:
        import yaml

        click.echo(yaml.safe_dump(resolve(preset=name).to_dict(), sort_keys=False, allow_unicode=True), nl=False)
        return
    from car.cli.table import print_table

    rows = []
    for each in list_presets():
        preset, config = load_preset(each), resolve(preset=each)
        numbers = (f"{value:g}" for value in (config.eta, config.theta, config.lam))
        rows.append((each, *numbers, "+".join(config.prompts), preset.description))
    print_table(("preset", "eta", "theta", "lam", "visual prompts", "what it is"), rows)
