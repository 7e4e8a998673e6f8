"""The app in a real Chromium, against a real endpoint.

HAKKA_SCREENSHOT=docs/app.png also writes the picture of the docs; with HAKKA_ENDPOINT it shows what is found there:
``HAKKA_SCREENSHOT=docs/app.png HAKKA_ENDPOINT=http://127.0.0.1:8080 python -m pytest tests/app -k picture``.
"""

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hakka.data.sample import write_sample
from tests.app.running import running_app
from tests.serving.server import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the browser tests need Chromium (Debian: chromium)")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
PICTURE = os.environ.get("HAKKA_SCREENSHOT")
PICTURE_BYTES = 300 * 1024
PATIENCE = 30_000  # ms, for a busy machine; every wait ends as soon as what it waits for is there
expect = sync_api.expect
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """A folder with a sample, as the app's working directory."""
    folder = tmp_path_factory.mktemp("kitchen")
    write_sample(folder / "sample", images=12)
    return folder


@pytest.fixture(scope="module")
def app(endpoint, kitchen):
    with running_app(kitchen, HAKKA_ENDPOINT=endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, app):
    """The app's page once it is drawn, and in ``page.asked`` every address that the browser asked for."""
    page = open_page(browser, app.url)
    yield page
    page.close()


def open_page(browser, url):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    expect(page.get_by_role("heading", name="What you can cook")).to_be_visible()
    return page


def upload(page, path):
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_role("heading", name="What Hakka sees")).to_be_visible()


def finds(page):
    return page.locator(".st-key-finds").get_by_test_id("stCheckbox")


def photo_address(page):
    return page.get_by_alt_text("Your photo with the ingredients").get_attribute("src")


def test_a_cook_uploads_corrects_and_reads_a_recipe(page, app, kitchen):
    upload(page, kitchen / "sample" / "images" / "scene_0003.jpg")
    expect(finds(page)).to_have_text(["Tomato × 2", "Onion", "Bell pepper"])
    expect(page.locator(".st-key-finds")).to_contain_text("90%")
    expect(page.get_by_role("heading", name="Shakshuka")).to_be_visible()

    before = photo_address(page)
    slider = page.get_by_role("slider")
    while int(value := slider.input_value()) < 50:
        slider.press("PageUp")
        expect(slider).not_to_have_value(value)
    expect(finds(page)).to_have_text(["Tomato", "Onion"])
    expect(page.get_by_alt_text("Your photo with the ingredients")).not_to_have_attribute("src", before)

    finds(page).filter(has_text="Tomato").click()
    expect(page.get_by_text("You have tomato")).to_have_count(0)
    expect(page.get_by_text("You have onion").first).to_be_visible()

    page.get_by_text("Ingredients and steps").first.click()
    expect(page.get_by_test_id("stExpander").first.get_by_role("listitem").first).to_be_visible()
    assert all(address.startswith((app.url, "data:", "blob:")) for address in page.asked), page.asked


def test_diet_and_allergens_change_the_recipes(page):
    page.locator(".st-key-added input").fill("egg")
    page.get_by_role("option", name="Egg", exact=True).click()
    expect(page.get_by_text("You have egg").first).to_be_visible()
    page.locator(".st-key-avoid input").click()
    page.get_by_role("option", name="Eggs").click()
    expect(page.get_by_text("You have egg")).to_have_count(0)


def test_a_sample_photo_is_one_click_away(page):
    page.get_by_role("button", name="Try").first.click()
    expect(finds(page)).to_have_text(["Tomato × 2", "Onion", "Bell pepper"])


@pytest.mark.parametrize("width", [1200, 768, 400])
def test_no_sample_photo_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    tries = page.get_by_role("button", name="Try")
    expect(tries).to_have_count(3)
    for i in range(3):
        expect(tries.nth(i)).to_be_in_viewport(ratio=1)


def test_the_camera_is_off_until_it_is_asked_for_and_then_takes_a_photo(page):
    expect(page.get_by_test_id("stCameraInput")).to_have_count(0)
    page.get_by_text("Use the camera").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0")  # there is no photo before a first frame
    page.get_by_role("button", name="Take Photo").click()
    expect(finds(page)).to_have_text(["Tomato × 2", "Onion", "Bell pepper"])


def test_a_file_that_is_no_photo_is_told_in_one_sentence(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photo")
    page.locator("input[type=file]").set_input_files(tmp_path / "notes.jpg")
    expect(page.get_by_role("alert").first).to_contain_text("The photo must be a whole JPEG, PNG or WebP file")


def test_without_an_endpoint_the_page_says_what_to_run(browser, tmp_path):
    with running_app(tmp_path, HAKKA_ENDPOINT="http://127.0.0.1:9") as alone:
        page = open_page(browser, alone.url)
        expect(page.get_by_role("alert").first).to_contain_text("make serve")
        expect(page.get_by_text("Traceback")).to_have_count(0)
        page.close()


@pytest.mark.skipif(not PICTURE, reason="set HAKKA_SCREENSHOT to write the picture of the docs")
def test_the_picture_of_the_docs(browser, request):
    endpoint = os.environ.get("HAKKA_ENDPOINT") or request.getfixturevalue("endpoint")
    with running_app(ROOT, HAKKA_ENDPOINT=endpoint) as running:
        page = open_page(browser, running.url)
        upload(page, ROOT / "sample" / "images" / "scene_0064.jpg")
        page.set_viewport_size({"width": 1280, "height": 1400})
        page.get_by_alt_text("Your photo with the ingredients").evaluate("image => image.decode()")
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
        expect(page.get_by_role("slider")).to_be_visible()
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        shot = Image.open(io.BytesIO(page.screenshot()))
        page.close()
    shot.convert("RGB").quantize(256).save(PICTURE, optimize=True)
    assert Path(PICTURE).stat().st_size <= PICTURE_BYTES
