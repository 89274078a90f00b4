"""What the picture shows."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.bench.failover.picture import HEIGHT, WIDTH, Line, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"
ONE = Line("rdsproxy", -1.0, 0.1, [70] * 10 + [0] * 10 + [35] * 10, {"event": 0.0, "promotion": 1.0})
OTHER = Line("haproxy <2>", -1.0, 0.1, [70] * 20, {"event": 0.0})


def lines(picture: ElementTree.Element) -> dict[str, list[tuple[float, float]]]:
    found = {}
    for line in picture.iter(f"{SVG}polyline"):
        title = line.find(f"{SVG}title")
        assert title is not None
        points = [point.split(",") for point in line.attrib["points"].split()]
        found[str(title.text)] = [(float(x), float(y)) for x, y in points]
    return found


def test_each_contestant_has_a_line_of_its_writes() -> None:
    drawn = lines(ElementTree.fromstring(draw("Writes", [Panel("kill", [ONE, OTHER])])))
    assert drawn.keys() == {"rdsproxy", "haproxy <2>"}
    points = drawn["rdsproxy"]
    assert len(points) == 30
    assert {y for _, y in points[:10]} == {0.0}, "the most of all is at the top"
    assert {y for _, y in points[10:20]} == {float(HEIGHT)}
    assert {y for _, y in points[20:]} == {HEIGHT / 2}
    assert points == sorted(points)
    assert 0 < points[0][0] < points[-1][0] < WIDTH


def test_the_promotion_is_marked_where_it_was() -> None:
    picture = ElementTree.fromstring(draw("Writes", [Panel("kill", [ONE])]))
    (mark,) = [path for path in picture.iter(f"{SVG}path") if path.find(f"{SVG}title") is not None]
    # From -1 to 2 seconds.
    assert mark.attrib["d"].startswith(f"M{WIDTH * 2 / 3:.1f} ")
    title = mark.find(f"{SVG}title")
    assert title is not None
    assert title.text == "rdsproxy: promotion, 1.00 s"


def test_panels_lie_in_rows_without_overlap() -> None:
    picture = ElementTree.fromstring(draw("Writes", [Panel(f"event {number}", [ONE]) for number in range(5)]))
    places = [group.attrib["transform"] for group in picture.iter(f"{SVG}g")]
    assert len(set(places)) == 5
    height = float(picture.attrib["height"])
    bottoms = [float(place.rstrip(")").split()[1]) + HEIGHT for place in places]
    assert max(bottoms) < height


def test_nothing_to_draw_is_a_picture_too() -> None:
    ElementTree.fromstring(draw("Writes", []))
    ElementTree.fromstring(draw("Writes", [Panel("kill", [])]))
    ElementTree.fromstring(draw("Writes", [Panel("kill", [Line("direct", -1.0, 0.1, [], {})])]))
