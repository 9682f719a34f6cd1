"""Tools on the film: window and level, a region as a box or painted, with the mouse and with the keyboard."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.mouse_button import MouseButton
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.relevancy import word_maps
from medinterp.relevancy.region import box_coverage, cells_coverage, rank_words
from medinterp.render import report_range
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    REPORT,
    api,
    choose_method,
    chosen_words,
    drag_on_film,
    fake_films,
    film,
    on_film,
    page,
    press,
    take_example,
    wait_drawn,
    wait_film,
    wait_paths,
)
from tests.page_maps import GRID

pytestmark = pytest.mark.filterwarnings("error")

Grays = npt.NDArray[np.uint8]


@pytest.fixture
def read(page: Page, api: FakeApi, film: Path) -> Page:
    """A report with its maps."""
    page.upload(film)
    page.read()
    wait_paths(api, "/maps/packed", 1)
    page.wait("return document.getElementById('medinterp-key-high').textContent === '0.0625'")
    return page


# Window and level


def windowed(gray: Grays, level: float, width: float, inverted: bool = False) -> npt.NDArray[np.float64]:
    """The grays of a film whose grays between level -+ width / 2 (0..1) are spread over the whole scale."""
    shown = np.clip(255 * (gray / 255 - (level - width / 2)) / width, 0, 255)
    return 255 - shown if inverted else shown


def film_grays(page: Page) -> Grays:
    """What of the film's canvas is film, uint8 [height, width]."""
    pixels = page.canvas("film")
    left, top, width, height = page.film_place()
    return pixels[round(top) + 1 : round(top + height) - 1, round(left) + 1 : round(left + width) - 1, 0]


def right_drag(page: Page, dx: int, dy: int) -> None:
    """Drag with the right button from the stage's middle."""
    builder = ActionBuilder(page.driver, duration=20)
    mouse = builder.pointer_action
    stage = page.element("stage")
    mouse.move_to(stage, 0, 0)
    mouse.pointer_down(MouseButton.RIGHT)
    mouse.move_to(stage, dx // 2, dy // 2)
    mouse.move_to(stage, dx, dy)
    mouse.pointer_up(MouseButton.RIGHT)
    builder.perform()


def test_window_by_the_right_button(read: Page) -> None:
    """Whatever tool is chosen: across changes contrast, down darkens; the numbers are said, the map stays."""
    read.word(NODULE).click()
    read.wait_overlay()
    read.element("zoom-own").click()  # between pixels a window and what lies between them are not to be swapped
    before, map_before = film_grays(read), read.overlay_pixels()
    with read.asks_nothing():
        right_drag(read, -90, 40)
        assert read.text("window-facts") == "Level 60 %, width 70 %"
        after = film_grays(read)
        assert np.abs(after - windowed(before, 0.6, 0.7)).max() <= 1
        assert np.abs(after.astype(int) - before).max() > 30
        right_drag(read, 30, 0)
        assert read.text("window-facts") == "Level 60 %, width 80 %"
    assert read.overlay_pixels() == map_before
    assert read.text("subject") == "nodule", "nothing else was chosen"


def test_window_by_sliders_presets_and_reset(read: Page) -> None:
    """The panel comes with the tool; a preset follows the film's own grays; a double click gives all back."""
    before = film_grays(read)
    assert not read.element("window-panel").is_displayed()
    press(read, "w")
    assert read.element("window-panel").is_displayed()
    assert read.element("tool-window").get_attribute("aria-checked") == "true"
    read.element("zoom-own").click()
    before = film_grays(read)
    with read.asks_nothing():
        read.element("level").send_keys(*[Keys.ARROW_LEFT] * 20)
        read.element("width").send_keys(*[Keys.ARROW_LEFT] * 100)
        assert read.text("window-facts") == "Level 30 %, width 50 %"
        assert np.abs(film_grays(read) - windowed(before, 0.3, 0.5)).max() <= 1
        read.element("invert").click()
        assert read.text("window-facts") == "Level 30 %, width 50 %, inverted"
        assert np.abs(film_grays(read) - windowed(before, 0.3, 0.5, inverted=True)).max() <= 1
        read.element("window-reset").click()
        assert read.text("window-facts") == ""
        assert np.array_equal(film_grays(read), before)

        Select(read.element("preset")).select_by_visible_text("Lungs (dark half)")
        level, width = (int(number) / 100 for number in re.findall(r"\d+", read.text("window-facts")))
        low, high = np.quantile(before, [0.01, 0.6]) / 255
        assert (level - width / 2, level + width / 2) == pytest.approx((low, high), abs=0.02)
        read.element("zoom-fit").click()
        ActionChains(read.driver).double_click(read.element("stage")).perform()
        assert read.text("window-facts") == ""
        assert read.element("preset").get_property("value") == "0"
        drag_on_film(read, (0.5, 0.5), (0.5, 0.7))
        assert read.text("window-facts").startswith("Level "), "the left button windows with this tool"
    take_example(read, 1)
    wait_film(read, 41)
    assert read.text("window-facts") == "", "another film has its own"


# Region


def driven(page: Page) -> list[tuple[int, str]]:
    """The words of the list and what is said of them."""
    found = page.run(
        "return [...document.querySelectorAll('#medinterp-driven li')].map((row) =>"
        " [Number(row.querySelector('[data-driven]').dataset.driven), row.querySelector('.mi-bar-value').innerText])"
    )
    assert isinstance(found, list)
    return [(index, said) for index, said in found]


def rectangles(page: Page, kind: str) -> list[list[float]]:
    """Left, top, right, bottom of the marks on the film, in shares of it."""
    found = page.run(
        f"return [...document.querySelectorAll('#medinterp-marks .{kind}')].map((r) =>"
        " ['x', 'y', 'width', 'height'].map((name) => Number(r.getAttribute(name))))"
    )
    assert isinstance(found, list)
    return [[x, y, x + width, y + height] for x, y, width, height in found]


def assert_ranked(page: Page, api: FakeApi, coverage: npt.NDArray[np.float64], method: str = "raw") -> None:
    """The list is the server's ranking, number by number."""
    pack = api.pack(method)
    expected = [one for one in rank_words(pack, REPORT.words, coverage) if one.value > 0][:40]
    _, high = report_range(word_maps(pack, REPORT.words), pack.signed)
    listed = driven(page)
    values = {one.index: one for one in expected}
    assert len(listed) == len(expected)
    order = [values[index].value for index, _ in listed]
    assert order == sorted(order, reverse=True) or np.diff(order).max() < 1e-4, "most driven first"
    for index, said in listed:
        value, _, share = said.partition(" · ")
        assert shown(value) == pytest.approx(100 * values[index].value / high, abs=0.6), "of the report's scale"
        assert shown(share) == pytest.approx(100 * values[index].share, abs=0.6)


def shown(percent: str) -> float:
    """The number of "7.3 %" or "< 0.1 %"."""
    return float(percent.removesuffix(" %").replace("< ", ""))


@pytest.mark.parametrize("method", ["raw", "occlusion"])
def test_a_box(read: Page, api: FakeApi, method: str) -> None:
    """Words are ranked and tinted by how much the box drove them; a click on one shows its map; no request."""
    if method == "occlusion":
        choose_method(read, method)
        read.wait("return document.getElementById('medinterp-key-low').textContent.startsWith('against')")
    read.element("tool-region").click()
    with read.asks_nothing():
        drag_on_film(read, (0.2, 0.3), (0.55, 0.6))
        ((left, top, right, bottom),) = rectangles(read, "mi-region")
        assert (left, top, right, bottom) == pytest.approx((0.2, 0.3, 0.55, 0.6), abs=0.01)
        assert read.element("region").is_displayed(), "the drawer tells of it"
        assert_ranked(read, api, box_coverage((left, top, right, bottom), GRID, GRID), method)
        assert read.text("legend").startswith("Driven by the region: ")
        strengths = read.run(
            "return [...document.querySelectorAll('.medinterp-word')].map((w) =>"
            " Number(w.style.getPropertyValue('--mi-tint')))"
        )
        assert isinstance(strengths, list)
        first = driven(read)[0][0]
        assert strengths[first] == max(strengths) > 0.2
        read.driver.find_element("css selector", f"[data-driven='{first}']").click()
        assert chosen_words(read) == [first]
        assert read.text("subject") == REPORT.words[first].text
        assert read.element("region").is_displayed(), "the list stays"
        read.element("region-clear").click()
    assert rectangles(read, "mi-region") == []
    assert not read.text("legend").startswith("Driven by the region")


def test_the_film_stays_under_the_pointer_while_a_box_is_dragged(read: Page) -> None:
    """The drawer opens once the box is there."""
    press(read, "r")
    place = read.film_place()
    stage = read.element("stage")
    start, stop = on_film(read, 0.3, 0.3), on_film(read, 0.6, 0.6)
    actions = ActionChains(read.driver, duration=20).move_to_element_with_offset(stage, *start).click_and_hold()
    actions.move_to_element_with_offset(stage, *stop).perform()
    assert read.film_place() == place
    assert not read.element("drawer").is_displayed()
    ActionChains(read.driver).release().perform()
    assert read.element("drawer").is_displayed()
    ((left, top, right, bottom),) = rectangles(read, "mi-region")
    assert (left, top, right, bottom) == pytest.approx((0.3, 0.3, 0.6, 0.6), abs=0.01)


def test_a_box_follows_the_method_and_the_zoom(read: Page, api: FakeApi) -> None:
    """Another method ranks anew, and the box lies on the same place of a film that is looked at nearer."""
    press(read, "r")
    drag_on_film(read, (0.4, 0.4), (0.7, 0.6))
    (box,) = rectangles(read, "mi-region")
    coverage = box_coverage(box, GRID, GRID)
    assert_ranked(read, api, coverage)
    choose_method(read, "occlusion")
    read.wait("return document.getElementById('medinterp-key-low').textContent.startsWith('against')")
    assert_ranked(read, api, coverage, "occlusion")
    choose_method(read, "raw")
    read.wait("return document.getElementById('medinterp-key-low').textContent === '0'")
    read.element("zoom-in").click()
    left, top, width, height = read.film_place()
    stage, mark = read.element("stage").rect, read.driver.find_element("css selector", ".mi-region").rect
    assert mark["x"] - stage["x"] == pytest.approx(left + box[0] * width, abs=2)
    assert mark["y"] - stage["y"] == pytest.approx(top + box[1] * height, abs=2)
    assert mark["width"] == pytest.approx((box[2] - box[0]) * width, abs=4)


def test_a_box_by_keyboard(read: Page, api: FakeApi) -> None:
    """Arrows go from cell to cell, Shift extends, Escape clears."""
    press(read, "r")
    read.run("document.getElementById('medinterp-stage').focus()")
    with read.asks_nothing():
        press(read, Keys.ARROW_RIGHT)
        assert rectangles(read, "mi-region") == [[0.5, 0.5, 9 / 16, 9 / 16]], "it begins in the middle"
        press(read, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, shift=True)
        (box,) = rectangles(read, "mi-region")
        assert box == pytest.approx([8 / 16, 8 / 16, 11 / 16, 10 / 16])
        assert_ranked(read, api, box_coverage(box, GRID, GRID))
        press(read, Keys.ARROW_LEFT)
        assert rectangles(read, "mi-region") == [[9 / 16, 9 / 16, 10 / 16, 10 / 16]], "a new one"
        press(read, Keys.ESCAPE)
        assert rectangles(read, "mi-region") == []


def cells(page: Page) -> set[tuple[int, int]]:
    """(row, column) of the painted ones."""
    return {(round(GRID * top), round(GRID * left)) for left, top, *_ in rectangles(page, "mi-painted")}


def test_painting_with_the_mouse(read: Page, api: FakeApi) -> None:
    """Cells along the way are painted; begun on a painted one, dragging takes them away."""
    press(read, "p")
    with read.asks_nothing():
        drag_on_film(read, (2.5 / 16, 3.5 / 16), (6.5 / 16, 3.5 / 16))
        first = cells(read)
        assert {(3, 2), (3, 6)} <= first <= {(3, column) for column in range(2, 7)}
        drag_on_film(read, (10.5 / 16, 9.5 / 16), (10.5 / 16, 10.5 / 16))
        assert cells(read) == first | {(9, 10), (10, 10)}
        assert_ranked(read, api, cells_coverage(sorted(cells(read)), GRID, GRID))
        drag_on_film(read, (10.5 / 16, 9.5 / 16), (10.5 / 16, 10.5 / 16))
        assert cells(read) == first


def test_painting_with_the_keyboard(read: Page, api: FakeApi) -> None:
    """Enter paints the cell under the cursor, and once more takes it away."""
    press(read, "p")
    read.run("document.getElementById('medinterp-stage').focus()")
    with read.asks_nothing():
        press(read, Keys.ARROW_UP, Keys.ENTER, Keys.ARROW_RIGHT, Keys.ENTER, Keys.ARROW_UP, " ")
        assert cells(read) == {(8, 8), (8, 9), (7, 9)}
        assert_ranked(read, api, cells_coverage(sorted(cells(read)), GRID, GRID))
        press(read, Keys.ENTER)
        assert cells(read) == {(8, 8), (8, 9)}
    assert read.text("subject") == ""


def test_a_region_goes_with_its_report(read: Page) -> None:
    """Neither box nor list is left for another report."""
    press(read, "r")
    drag_on_film(read, (0.2, 0.2), (0.5, 0.5))
    assert driven(read)
    read.read()
    assert rectangles(read, "mi-region") == []
    assert driven(read) == []
    read.word(HEARTS).click()
    wait_drawn(read, "Raw attention")


def test_cell_by_cell_grid_and_own_size(read: Page, api: FakeApi) -> None:
    """Each cell in one colour, said above the film; lines between the cells; a film's pixel on each of the screen."""
    with read.asks_nothing():
        read.word(NODULE).click()
        read.wait_overlay()
        smooth = np.array(read.pixels("overlay", GRID * 4, GRID * 4)).reshape(GRID, 4, GRID, 4, 4)
        assert np.ptp(smooth, axis=(1, 3)).max() > 8
        before = read.painted
        read.element("nearest").click()
        read.wait_overlay(other_than=before)
        assert read.text("drawn-method").endswith(", cell by cell")
        inner = np.array(read.pixels("overlay", GRID * 8, GRID * 8)).reshape(GRID, 8, GRID, 8, 4)[:, 2:6, :, 2:6]
        assert np.ptp(inner, axis=(1, 3)).max() <= 2, "one colour a cell"
        read.element("cell-grid").click()
        path = str(read.run("return document.querySelector('#medinterp-marks .mi-cell-grid').getAttribute('d')"))
        assert path.count("V") == path.count("H") == GRID - 1
        read.element("zoom-own").click()
        _, _, width, height = read.film_place()
        film = "document.getElementById('medinterp-film').dataset"
        own = read.run(f"return [Number({film}.width), Number({film}.height)]")
        assert [width, height] == pytest.approx(own, abs=0.01)
        read.element("zoom-fit").click()
        ActionChains(read.driver).send_keys("i").perform()
        assert "inverted" in read.text("window-facts")
