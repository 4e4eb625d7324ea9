"""Procedural scenes with exact masks: the embedded benchmark, and what the embedded model is trained on."""

from car.scenes.backgrounds import STUFF
from car.scenes.demo import demo_image, demo_masks, demo_path, demo_scene
from car.scenes.expressions import Expression, expressions
from car.scenes.film import Film, FilmFrame, film
from car.scenes.film_expressions import film_expressions
from car.scenes.objects import COLOURS, TEXTURES
from car.scenes.scene import LAYOUTS, VERSION, Scene, scene
from car.scenes.splits import TEST, TUNING, Split
from car.scenes.sprites import Concept, concepts

__all__ = [
    "COLOURS",
    "LAYOUTS",
    "STUFF",
    "TEST",
    "TEXTURES",
    "TUNING",
    "VERSION",
    "Concept",
    "Expression",
    "Film",
    "FilmFrame",
    "Scene",
    "Split",
    "concepts",
    "demo_image",
    "demo_masks",
    "demo_path",
    "demo_scene",
    "expressions",
    "film",
    "film_expressions",
    "scene",
]
