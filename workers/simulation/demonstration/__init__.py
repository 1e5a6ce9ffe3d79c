"""The demonstration: Operation Lava, played through the public contract alone, as any force's program would."""

from workers.simulation.demonstration.play import SPEED, Demonstration

__all__ = ["SPEED", "Demonstration"]
