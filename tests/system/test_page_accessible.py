"""The page for everybody: a screen reader, a keyboard alone, any width, light and dark, and long words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.kit.axe import load_axe, violations
from tests.kit.leads import a_lead
from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage, add_admin
from tests.kit.service import Service

# The views, by their routes; LEAD stands for the id of one with everything in it.
LEAD = "{lead}"
VIEWS = ("now", "leads", f"lead/{LEAD}", "letters", "try")
# What each has when it has all that belongs to it.
FULL = {"now": "#chart svg", "leads": "#pages a", "lead": "#lead dd", "letters": "#letters-list li", "try": "#try-send"}

WIDTHS = (320, 768, 1280, 3840)

SCHEMES = ("light", "dark")
LEVELS = ("ok", "warn", "bad", "unknown")

# Names as long as they may be, without a place to break them.
LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff" * 7

# A word of another language may be three times as long. Each is made so once, and numbers are as they are: a tile
# chooses its type by their length when it shows them.
LENGTHEN = r"""
    window.lengthened ??= new WeakMap();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        if (text.parentElement.closest('script, style, .tile dd') || lengthened.get(text) === text.data) continue;
        text.data = text.data.replace(/\p{L}+/gu, (word) => word.repeat(3));
        lengthened.set(text, text.data);
    }
"""

# Boxes that are wider than the window, or than the box around them. A field scrolls what is in it.
TOO_WIDE = """
    const name = (each) => `${each.tagName}#${each.id}.${each.getAttribute('class')} ${each.textContent.slice(0, 60)}`;
    const isBox = (each) => each.checkVisibility() && !each.closest('.unseen, svg, input, select, textarea')
        && getComputedStyle(each).display !== 'inline';
    const wide = [...document.querySelectorAll('body *')].filter(isBox).filter((each) =>
        each.getBoundingClientRect().right > innerWidth + 1 || each.scrollWidth > each.clientWidth + 1).map(name);
    const {scrollWidth} = document.scrollingElement;
    return scrollWidth > innerWidth ? [`the page: ${scrollWidth} > ${innerWidth}`, ...wide] : wide;
"""

# Texts that lie on each other by more than the space between two lines.
OVERLAPS = """
    const found = [];
    // Where a text ends that is cut after some lines.
    const bottomOf = (box) => {
        for (let each = box; each; each = each.parentElement) {
            if (getComputedStyle(each).overflowY === 'hidden') return each.getBoundingClientRect().bottom;
        }
        return Infinity;
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const {parentElement: box} = text;
        if (!text.data.trim() || !box.checkVisibility() || box.closest('.unseen, .skip, svg, option')) continue;
        const range = document.createRange();
        range.selectNode(text);
        const end = bottomOf(box);
        for (const {left, right, top, bottom, height} of range.getClientRects()) {
            const each = {left, right, top, bottom: Math.min(bottom, end), height};
            if (top < end) found.push({box, each, text: text.data.slice(0, 40)});
        }
    }
    const isOn = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > Math.min(a.height, b.height) / 2;
    return found.flatMap((one, index) => found.slice(index + 1)
        .filter((other) => one.box !== other.box && isOn(one.each, other.each))
        .map((other) => `${one.text} | ${other.text}`));
"""

# The elements that Tab must reach, in their order: of radio buttons the chosen one.
STOPS = """
    const all = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]');
    window.stops = [...all].filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()
        && (each.type !== 'radio' || each.checked));
    return stops.map((each) => each.id || each.textContent.trim());
"""
# The number of the one that has the focus, and whether that can be seen.
FOCUS = """
    const focused = document.activeElement;
    const shown = focused.type === 'radio' ? focused.labels[0] : focused;
    const {outlineStyle, outlineWidth} = getComputedStyle(shown);
    const {left, right, top, bottom} = shown.getBoundingClientRect();
    const isWithin = right > 0 && bottom > 0 && left < innerWidth && top < innerHeight;
    return [stops.indexOf(focused), outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && isWithin];
"""

MOVING = """
    const seconds = (text) => Math.max(...text.split(',').map(parseFloat));
    const moving = [...document.querySelectorAll('*')].filter((each) => {
        const style = getComputedStyle(each);
        const isMoving = style.animationName !== 'none' || style.scrollBehavior === 'smooth';
        return isMoving || seconds(style.transitionDuration) > 0.01;
    });
    return moving.map((each) => each.outerHTML.slice(0, 80));
"""


SET_LEVEL = "for (const each of document.querySelectorAll('[data-level]')) each.dataset.level = arguments[0]"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with something in each view: leads, one with everything in it, and dead letters."""
    with Service(tmp_path_factory.mktemp("furnished")) as service:
        add_admin(service)
        with closing(sqlite3.connect(service.data / "leads.db", timeout=30, isolation_level=None)) as database:
            database.execute(
                "CREATE TRIGGER refusal BEFORE INSERT ON leads WHEN NEW.first_name = 'Refused' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        everything = {"list": [1, {"deep": LONG_NAME}], LONG_NAME: "long"}
        long = a_lead(firstName=LONG_NAME, lastName=LONG_NAME, additionalData=everything)
        service.accept(*[a_lead() for _ in range(300)], *[a_lead(firstName="Refused", lastName=LONG_NAME)] * 2, long)
        service.wait_until_nothing_waits()
        yield service


@pytest.fixture
def views(furnished: Service, page: LeadPage) -> Iterator[Callable[[], Iterator[str]]]:
    """A function that shows one view after another, each with all that belongs to it, and yields its name."""
    lead = furnished.page(limit=1)["items"][0]["id"]

    def walk() -> Iterator[str]:
        page.visit(furnished)
        yield "log-in"
        page.try_to_log_in(password="wrong")
        page.wait_for("#login-message", "Invalid credentials")
        yield "log-in, refused"
        page.log_in(ADMIN, ADMIN_PASSWORD)
        for view in VIEWS:
            page.run("location.hash = arguments[0]", "#" + view.replace(LEAD, lead))
            name = view.partition("/")[0]
            page.wait(lambda name=name: page.is_there(FULL[name]))
            page.run("for (const each of document.querySelectorAll('details')) each.open = true")
            yield name
        page.write("#try-email", "no address")
        page.click("#try-send")
        page.wait(lambda: page.shown("#try-email-error") != "")
        yield "try, refused"

    return walk


Walk = Callable[[], Iterator[str]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_in_any_view(views: Walk, page: LeadPage, scheme: str):
    page.prefer(prefers_color_scheme=scheme)
    found: dict[str, list[str]] = {}

    for view in views():
        if view == "log-in":
            load_axe(page)
        found[view] = violations(page)

    assert len(found) == len(VIEWS) + 3
    assert {view: each for view, each in found.items() if each} == {}


def test_axe_finds_nothing_in_any_state(furnished: Service, page: LeadPage):
    page.visit(furnished)
    load_axe(page)
    page.log_in(ADMIN, ADMIN_PASSWORD)
    page.wait(lambda: page.number("#waiting") is not None)
    found: dict[str, list[str]] = {}

    # Without a network nothing sets them back
    with page.network(offline=True):
        page.wait(lambda: page.attribute("#main", "data-stale") == "true")
        for scheme in SCHEMES:
            page.prefer(prefers_color_scheme=scheme)
            for level in LEVELS:
                page.run(SET_LEVEL, level)
                found[f"{scheme}, stale, {level}"] = violations(page, "main")
            page.run("document.getElementById('main').dataset.stale = false")
            for level in LEVELS:
                page.run(SET_LEVEL, level)
                found[f"{scheme}, {level}"] = violations(page, "main")

    assert {state: each for state, each in found.items() if each} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_or_overlaps_with_words_of_any_length(views: Walk, page: LeadPage, width: int):
    page.resize(width)
    found: dict[str, Any] = {}

    for view in views():
        for words in ("as they are", "three times as long"):
            if words != "as they are":
                page.run(LENGTHEN)
            found[f"{view}, words {words}"] = page.run(TOO_WIDE) + page.run(OVERLAPS)

    assert {view: each for view, each in found.items() if each} == {}


def test_tab_reaches_everything_in_its_order_and_one_sees_where_it_is(views: Walk, page: LeadPage):
    found: dict[str, Any] = {}

    for view in views():
        names = page.run(STOPS)
        reached: list[int] = []
        unseen: list[str] = []
        # A field for a time is several stops
        for _ in range(10 * len(names)):
            page.press(Keys.TAB)
            stop, is_seen = page.run(FOCUS)
            if stop < 0 or stop in reached[-1:]:
                continue
            if stop in reached:
                break
            reached.append(stop)
            unseen += [] if is_seen else [names[stop]]
        start = reached.index(0)
        in_order = reached[start:] + reached[:start]
        found[view] = ([names[stop] for stop in in_order], unseen)
        assert found[view] == (names, []), view

    assert len(found) == len(VIEWS) + 3


def test_everything_is_done_by_the_keyboard_alone(furnished: Service, page: LeadPage):
    def focus_by_tab(name: str) -> None:
        for _ in range(100):
            page.press(Keys.TAB)
            if page.run("return document.activeElement.id") == name:
                return
        pytest.fail(f"Tab does not reach {name}")

    page.visit(furnished)
    page.wait(lambda: page.run("return document.activeElement.id") == "login-email")
    page.press(ADMIN, Keys.TAB, ADMIN_PASSWORD, Keys.ENTER)
    page.find("#logout")

    # The first thing that Tab reaches leads past the tabs
    focus_by_tab("skip")
    page.press(Keys.ENTER)
    assert page.run("return document.activeElement.id") == "heading"

    focus_by_tab("range-15m")
    page.press(Keys.ARROW_RIGHT)
    assert page.run("return document.activeElement.id") == "range-hour"
    page.wait(lambda: "over an hour" in str(page.attribute("#chart", "aria-label")))

    # Another view begins at its heading
    focus_by_tab("nav-leads")
    page.press(Keys.ENTER)
    page.wait(lambda: page.shown("#heading") == "Leads")
    assert page.run("return document.activeElement.id") == "heading"
    focus_by_tab("sort-email")
    page.press(Keys.ENTER)
    page.wait(lambda: page.attribute("th[aria-sort=ascending]", "scope") == "col")
    assert page.run("return document.activeElement.id") == "sort-email"

    focus_by_tab("nav-try")
    page.press(Keys.ENTER)
    focus_by_tab("try-send")
    page.press(Keys.SPACE)
    page.wait(lambda: "stored after" in page.shown("#step-stored"))

    focus_by_tab("logout")
    page.press(Keys.ENTER)
    page.find("#login-email")


def test_who_wants_no_motion_gets_none(views: Walk, page: LeadPage):
    page.prefer(prefers_reduced_motion="reduce")

    found = {view: page.run(MOVING) for view in views()}

    assert {view: each for view, each in found.items() if each} == {}
