"""The embedded world: real facts, opinions and prose that the embedded model is trained on, and how to look
them up.
"""

from .world import Entity, Fact, Match, Opinions, Relation, Topic, World, load_world

__all__ = ["Entity", "Fact", "Match", "Opinions", "Relation", "Topic", "World", "load_world"]
