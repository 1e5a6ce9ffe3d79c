"""One population and its 22 bodies for all these tests: building them takes a second."""

import pytest

from workers.simulation.bodies import Body, make_bodies
from workers.simulation.groups import population
from workers.simulation.population import Population
from workers.simulation.roster import SIMULATED

SEED = 20151112


@pytest.fixture(scope="session")
def world() -> Population:
    return population(SEED)


@pytest.fixture(scope="session")
def bodies(world: Population) -> dict[str, Body]:
    return make_bodies(world, SIMULATED)
