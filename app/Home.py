"""The page: photo, finds, recipes."""  # noqa: N999 - Streamlit shows the file's name as the page's name

import streamlit as st

from app.dishes import show_recipes
from app.finds import show_finds
from app.photos import Photo, choose_photo, upright_image
from hakka.endpoint import Endpoint, Model, Prediction
from hakka.errors import HakkaError
from hakka.settings import read_settings

FETCHED_CONFIDENCE = 0.05  # the slider filters what was fetched, so it needs no request of its own


def main() -> None:
    """Draw the page from top to bottom."""
    st.set_page_config(page_title="Hakka", page_icon="🥕", layout="wide")
    st.title("Hakka")
    st.markdown("Show your food: Hakka finds the ingredients and gives you recipes that you can cook and may eat.")
    endpoint = shared_endpoint(read_settings().endpoint)
    model = show_model_state(endpoint)
    photo = choose_photo()
    seen: dict[str, float] = {}
    version = model.version if model else None
    if photo and model:
        prediction = detect_once(endpoint, photo, model)
        if prediction:
            seen = show_finds(upright_image(photo.data), prediction, photo.digest, model.confidence)
            version = prediction.model_version
    show_recipes(seen)
    st.caption(f"Model `{version or 'unknown'}` at `{endpoint.url}`")


def show_model_state(endpoint: Endpoint) -> Model | None:
    """The served model, or a sentence on the page that says why there is none."""
    try:
        return served_model(endpoint.url)
    except HakkaError as error:
        st.error(str(error), icon=":material/power_off:")
        st.button("Try again")
        return None


@st.cache_resource(show_spinner=False)
def shared_endpoint(url: str) -> Endpoint:
    """One client for all sessions."""
    return Endpoint(url)


@st.cache_data(ttl=30, show_spinner=False)
def served_model(url: str) -> Model:
    """What the endpoint says about its model; asked at most twice a minute."""
    return shared_endpoint(url).model()


def detect_once(endpoint: Endpoint, photo: Photo, model: Model) -> Prediction | None:
    """The finds in a photo, asked once for each photo and model; a refusal is shown as the endpoint says it."""
    asked = (photo.digest, model.version)
    kept: tuple[object, Prediction] | None = st.session_state.get("prediction")
    if kept and kept[0] == asked:
        return kept[1]
    try:
        with st.spinner("Looking at your photo …"):
            prediction = endpoint.detect(photo.data, FETCHED_CONFIDENCE)
    except HakkaError as error:
        st.error(str(error))
        return None
    st.session_state["prediction"] = (asked, prediction)
    return prediction


main()
