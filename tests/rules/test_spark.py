"""The spark line of a queue."""

from app.reporting.spark import HEIGHT, WIDTH, Spark, spark


def test_the_line_goes_from_edge_to_edge_and_is_as_high_as_the_most() -> None:
    drawn = spark([0, 4, 2])
    points = [tuple(map(float, point.split(","))) for point in drawn.points.split()]
    assert points == [(1, HEIGHT - 1), (WIDTH / 2, 1), (WIDTH - 1, HEIGHT / 2)]
    assert (drawn.total, drawn.most) == (6, 4)


def test_nothing_is_drawn_where_nothing_was_answered() -> None:
    assert spark([]) == spark([0, 0]) == Spark("", 0, 0)
