"""Model card and dataset card: what a run made and from what, for people, as Markdown and as one HTML page."""

from hakka.cards.dataset import dataset_card
from hakka.cards.markdown import Card
from hakka.cards.model import model_card, version_card

__all__ = ["Card", "dataset_card", "model_card", "version_card"]
