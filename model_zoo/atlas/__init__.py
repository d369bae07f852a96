"""The embedded world: real facts, opinions and prose that the embedded model is trained on, and how to look them up."""

from .world import Entity, Fact, Relation, World, load_world

__all__ = ["Entity", "Fact", "Relation", "World", "load_world"]
