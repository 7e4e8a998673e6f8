"""Model versions that never change, and channels that point at them."""

from hakka.registry.channels import CHANNELS, champion, channel_history, promote, resolve, rollback
from hakka.registry.versions import list_versions, publish, register, version_folder

__all__ = [
    "CHANNELS",
    "champion",
    "channel_history",
    "list_versions",
    "promote",
    "publish",
    "register",
    "resolve",
    "rollback",
    "version_folder",
]
