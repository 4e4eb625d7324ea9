"""How long every stage takes, and how long it would take at best on the same machine."""

from car.bench.case import Rival, measure
from car.bench.figures import Answer, Case, Row
from car.bench.machine import describe
from car.bench.models import MODELS, load_models
from car.bench.plan import Plan

__all__ = ["MODELS", "Answer", "Case", "Plan", "Rival", "Row", "describe", "load_models", "measure"]
