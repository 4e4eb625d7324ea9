"""Procedural scenes with exact masks: the embedded benchmark, and what the embedded model is trained on."""

from car.scenes.backgrounds import STUFF
from car.scenes.demo import demo_image, demo_masks, demo_path, demo_scene
from car.scenes.scene import COLOURS, VERSION, Scene, scene
from car.scenes.sprites import Concept, concepts

__all__ = [
    "COLOURS",
    "STUFF",
    "VERSION",
    "Concept",
    "Scene",
    "concepts",
    "demo_image",
    "demo_masks",
    "demo_path",
    "demo_scene",
    "scene",
]
