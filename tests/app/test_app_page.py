"""The page as a cook uses it, run by Streamlit's own test runner against a real endpoint."""

import io
import socket
from pathlib import Path

import httpx
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import app
from app.photos import upright_image
from hakka.errors import InvalidInput

HOME = Path(app.__file__).with_name("Home.py")


@pytest.fixture
def page(endpoint, monkeypatch):
    """The page as it is first shown."""
    return open_page(endpoint, monkeypatch)


def open_page(endpoint, monkeypatch):
    st.cache_data.clear()
    monkeypatch.setenv("HAKKA_ENDPOINT", endpoint)
    page = AppTest.from_file(HOME, default_timeout=60).run()
    assert not page.exception
    return page


def upload(page, data, name="lunch.jpg", mime="image/jpeg"):
    page.file_uploader(key="upload").set_value((name, data, mime)).run()
    assert not page.exception
    return page


def found_names(page):
    return [box.label for box in page.checkbox]


def recipe_titles(page):
    return [
        text.value.removeprefix("#### ").replace("\\", "") for text in page.markdown if text.value.startswith("#### ")
    ]


def test_the_first_page_asks_for_a_photo_and_no_camera(page):
    assert page.title[0].value == "Hakka"
    assert len(page.file_uploader) == 1
    assert not page.camera_input
    assert not page.error
    assert "recipes appear here" in page.info[0].value


def test_a_photo_gives_finds_above_the_model_s_threshold_and_recipes(page, photo):
    upload(page, photo)
    assert page.slider(key="least").value == 25
    assert found_names(page) == ["Tomato × 2", "Onion", "Bell pepper"]
    assert "4 of 5 finds are shown" in " ".join(text.value for text in page.caption)
    assert len(recipe_titles(page)) == 10
    assert any("tomato" in text.value for text in page.markdown if text.value.startswith("You have"))


def test_the_slider_filters_without_asking_the_endpoint_again(page, photo, monkeypatch):
    upload(page, photo)
    monkeypatch.setattr("hakka.endpoint.Endpoint.detect", None)  # a second request would fail loudly
    page.slider(key="least").set_value(50).run()
    assert found_names(page) == ["Tomato", "Onion"]
    page.slider(key="least").set_value(5).run()
    assert found_names(page) == ["Tomato × 2", "Onion", "Bell pepper", "Chili"]
    page.slider(key="least").set_value(95).run()
    assert found_names(page) == []
    assert not page.exception
    assert "No find is that sure" in page.info[0].value


def test_an_unticked_find_is_in_no_recipe_and_stays_unticked(page, photo):
    upload(page, photo)
    page.checkbox[0].uncheck().run()
    assert not any("[tomato]" in text.value for text in page.markdown if text.value.startswith("You have"))
    page.slider(key="least").set_value(95).run()
    page.slider(key="least").set_value(25).run()
    assert [box.value for box in page.checkbox] == [False, True, True]
    page.checkbox[0].check().run()
    assert any("[tomato]" in text.value for text in page.markdown if text.value.startswith("You have"))


def test_another_photo_starts_with_everything_ticked(page, photo):
    upload(page, photo)
    page.checkbox[0].uncheck().run()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, "PNG")
    upload(page, buffer.getvalue(), "other.png", "image/png")
    assert [box.value for box in page.checkbox] == [True, True, True]


def test_ingredients_diet_and_allergens_work_without_a_photo(page):
    page.multiselect(key="added").select("egg").select("tomato").run()
    with_eggs = recipe_titles(page)
    page.multiselect(key="avoid").select("eggs").run()
    without = recipe_titles(page)
    assert "Tomato and egg stir-fry" in with_eggs
    assert "Tomato and egg stir-fry" not in without
    assert without
    page.selectbox(key="diet").set_value("vegan").run()
    assert recipe_titles(page)
    assert any("Fits the diet vegan." in text.value.replace("\\", "") for text in page.caption)


def test_what_every_pantry_holds_is_not_offered(page):
    offered = page.multiselect(key="added").options
    assert "Egg" in offered
    assert "Salt" not in offered


def test_a_recipe_shows_its_ingredients_and_numbered_steps(page):
    page.multiselect(key="added").select("egg").select("tomato").run()
    text = page.expander[0].markdown[0].value
    assert text.startswith("- ")
    assert "\n1. " in text


@pytest.mark.parametrize("kind", ["cut short", "text"])
def test_a_bad_photo_is_refused_in_one_sentence(page, photo, kind):
    upload(page, photo[: len(photo) // 2] if kind == "cut short" else b"not a photo at all")
    assert len(page.error) == 1
    assert page.error[0].value.startswith("The photo must be a whole JPEG, PNG or WebP file")
    assert not page.checkbox


def test_a_removed_photo_takes_its_finds_along(page, photo):
    upload(page, photo)
    page.file_uploader(key="upload").set_value([]).run()
    assert not page.checkbox


def test_without_an_endpoint_the_page_says_what_to_run_and_still_gives_recipes(monkeypatch, photo):
    with socket.socket() as held:  # bound but not listening: nothing can answer there
        held.bind(("127.0.0.1", 0))
        page = open_page(f"http://127.0.0.1:{held.getsockname()[1]}", monkeypatch)
        assert "`make serve`" in page.error[0].value
        upload(page, photo)
        assert len(page.error) == 1
        page.multiselect(key="added").select("tomato").run()
        assert recipe_titles(page)


def test_the_version_that_answered_stands_at_the_bottom(page, photo, endpoint):
    upload(page, photo)
    version = httpx.get(f"{endpoint}/v2/models/hakka").json()["versions"][0]
    assert page.caption[-1].value.startswith(f"Model `{version}`")


def test_a_sample_photo_is_looked_at_with_one_click(endpoint, monkeypatch, tmp_path, photo):
    folder = tmp_path / "sample" / "images"
    folder.mkdir(parents=True)
    for name in ("faulty_0.jpg", "scene_0.jpg", "scene_1.jpg"):
        (folder / name).write_bytes(photo)
    st.cache_data.clear()
    monkeypatch.setenv("HAKKA_ENDPOINT", endpoint)
    page = AppTest.from_file(HOME, default_timeout=60)
    monkeypatch.chdir(tmp_path)
    page.run()
    assert [button.key for button in page.button] == ["sample scene_0.jpg", "sample scene_1.jpg"]
    page.button(key="sample scene_1.jpg").click().run()
    assert found_names(page) == ["Tomato × 2", "Onion", "Bell pepper"]


def test_a_photo_that_the_camera_held_sideways_is_turned_upright():
    image = Image.new("RGB", (64, 32), "white")
    image.paste("red", (0, 0, 16, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, exif=exif)
    upright = upright_image(buffer.getvalue(), 64)
    assert upright.size == (32, 64)
    assert upright.getpixel((16, 4))[1] < 80
    assert upright.getpixel((16, 60))[1] > 200


@pytest.mark.parametrize(("size", "shown"), [((4000, 3000), (1280, 960)), ((30, 60), (640, 1280))])
def test_any_photo_is_drawn_at_the_size_of_the_page(size, shown):
    buffer = io.BytesIO()
    Image.new("RGB", size, "white").save(buffer, "JPEG")
    assert upright_image(buffer.getvalue()).size == shown


def test_bytes_that_are_no_photo_are_refused():
    with pytest.raises(InvalidInput, match="whole JPEG, PNG or WebP"):
        upright_image(b"GIF89a")
