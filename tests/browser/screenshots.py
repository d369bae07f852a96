"""README's pictures: `make screenshots` drives the page and writes assets/screenshots/. Named tabs behind the
module are made alone.
"""

import sys
from pathlib import Path

from playwright.sync_api import Page

from .conftest import launched, open_page, serve

OUT = Path(__file__).parent.parent.parent / "assets" / "screenshots"
SHAPES = {"desktop": (1440, 1000), "phone": (390, 844)}
# by the model that they show
TABS = {"smollm2": ("edit", "effects", "compare", "directions"), "atlas": ("scope", "evaluate", "train")}
READY = {  # what stands on the page when a tab is drawn
    "edit": ("#verdicts .score",),
    "effects": ("#effects-nearestedits table",),
    "compare": ("#compare-file",),
    "scope": ("#ripple-right .js-plotly-plot", "#reach-right .reach"),
    "directions": ("#direction-plot .js-plotly-plot",),
    "evaluate": ("#bars-locality .js-plotly-plot",),
    "train": ("#train-takes dl",),
}
# what is clicked first
STARTED = {"effects": "#effects", "compare": "#compare", "evaluate": "#measure", "train": "#train-estimate"}
TITLES = {"effects": "Side effects"}  # where it is not the tab's name


def take(page: Page, tab: str, path: Path, whole: bool) -> None:
    title = TITLES.get(tab, tab.capitalize())
    own = page.get_by_role("tab", name=title, exact=True)
    if own.is_visible():
        own.click()
    else:  # on a phone
        page.get_by_label("More tabs").click()
        page.locator(".overflow-dropdown").get_by_text(title).click()
    if tab in STARTED:
        page.locator(STARTED[tab]).click()
    for drawn in READY[tab]:
        page.locator(drawn).first.wait_for(timeout=300_000)
    page.wait_for_timeout(2500)  # figures grow into place
    page.screenshot(path=path, full_page=whole)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for model, all_tabs in TABS.items():
        tabs = [tab for tab in all_tabs if tab in (sys.argv[1:] or all_tabs)]
        if not tabs:
            continue
        with serve("--model", model) as url, launched() as browser:
            for shape, (width, height) in SHAPES.items():
                for dark in (False, True):
                    page = open_page(browser, url, width, height, dark)
                    for tab in tabs:
                        name = f"{tab}-{shape}-{'dark' if dark else 'light'}.png"
                        take(page, tab, OUT / name, whole=shape == "desktop")
                    page.close()


if __name__ == "__main__":
    main()
