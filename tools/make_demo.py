"""Write car/scenes/demo.jpg, the picture of `car.scenes.demo_scene()`. Run whenever the scene changes."""

import os

import click
from PIL import Image

from car.scenes import demo_path, demo_scene


@click.command(help=__doc__)
def main() -> None:
    made, path = demo_scene(), demo_path()
    temporary = path.with_name("demo.tmp")
    Image.fromarray(made.image).save(temporary, "JPEG", quality=92)
    os.replace(temporary, path)
    click.echo(f"{path.name}: {made.caption}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
