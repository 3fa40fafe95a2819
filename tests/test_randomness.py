from itertools import product

from mclrec.randomness import Stream, generator


def test_the_same_key_gives_the_same_numbers() -> None:
    assert generator(3, Stream.VIEWS, 0, 1, 2).random(5).tolist() == (
        generator(3, Stream.VIEWS, 0, 1, 2).random(5).tolist()
    )


def test_every_part_of_the_key_matters() -> None:
    keys = product((0, 1), Stream, (0, 1), (0, 1), (0, 1, 2))
    firsts = [int(generator(seed, stream, *key).integers(1 << 62)) for seed, stream, *key in keys]
    assert len(set(firsts)) == len(firsts) == 2 * len(Stream) * 12


def test_neighbours_are_not_correlated() -> None:
    first, second = (generator(1, Stream.DROPOUT, 0, 0, step).standard_normal(20_000) for step in (0, 1))
    assert abs(float((first * second).mean())) < 0.03


def test_numbers_of_streams_are_fixed() -> None:
    """Checkpoints rely on them: append, never renumber."""
    numbers = {"INITIALISATION": 0, "ORDER": 1, "VIEWS": 2, "DROPOUT": 4, "BOOTSTRAP": 5, "CLUSTERING": 7}
    assert {stream.name: int(stream) for stream in Stream}.items() >= numbers.items()
