import pytest

from tests.simulation.world import World

# Some thousand steps, every kind of fault; `python -m bench simulate --runs 100000` lives through many more.
SEEDS = 32
STEPS = 90


@pytest.mark.parametrize("group", range(4))
def test_whatever_happens_all_devices_agree_in_the_end_and_nothing_is_lost(group: int) -> None:
    for seed in range(group, SEEDS, 4):
        World(seed, STEPS).run()


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(3016879, id="removed as its copy began another stream"),
        pytest.param(4002179, id="nobody left but two copies of one device"),
    ],
)
def test_what_broke_one_world_of_many_thousands_does_so_no_more(seed: int) -> None:
    World(seed, 100).run()


def test_one_seed_is_one_world() -> None:
    first, again = World(7, STEPS), World(7, STEPS)
    first.run()
    again.run()
    assert first.trace == again.trace
