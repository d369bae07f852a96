"""README's pictures: `make screenshots` drives the page and writes assets/screenshots/."""

from pathlib import Path

from .conftest import launched, open_page, serve

OUT = Path(__file__).parent.parent.parent / "assets" / "screenshots"
SHAPES = {"desktop": (1440, 1000), "phone": (390, 844)}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with serve() as url, launched() as browser:
        for shape, (width, height) in SHAPES.items():
            for dark in (False, True):
                page = open_page(browser, url, width, height, dark)
                name = f"{shape}-{'dark' if dark else 'light'}"
                page.wait_for_timeout(1500)
                page.screenshot(path=OUT / f"edit-{name}.png", full_page=shape == "desktop")
                page.get_by_role("tab", name="Scope", exact=True).click()
                page.wait_for_selector("#ripple-right .js-plotly-plot", timeout=120_000)
                page.wait_for_selector("#reach-right .reach", timeout=120_000)
                page.wait_for_timeout(1500)
                page.screenshot(path=OUT / f"scope-{name}.png", full_page=shape == "desktop")
                page.get_by_role("tab", name="Directions", exact=True).click()
                page.wait_for_selector("#direction-plot .js-plotly-plot", timeout=120_000)
                page.wait_for_timeout(2500)
                page.screenshot(path=OUT / f"directions-{name}.png", full_page=shape == "desktop")
                page.get_by_role("tab", name="Evaluate", exact=True).click()
                page.locator("#measure").click()
                page.wait_for_selector("#bars-locality .js-plotly-plot", timeout=300_000)
                page.wait_for_timeout(1500)
                page.screenshot(path=OUT / f"evaluate-{name}.png", full_page=shape == "desktop")
                page.close()


if __name__ == "__main__":
    main()
