"""Model versions that never change, and channels that point at them."""

from hakka.registry.channels import (
    CHANNELS,
    champion,
    channel_history,
    check_champion,
    find_version,
    promote,
    resolve,
    rollback,
)
from hakka.registry.runs import keep_run, read_run
from hakka.registry.versions import (
    check_version,
    list_versions,
    look_at_versions,
    publish,
    read_version,
    register,
    version_folder,
)

__all__ = [
    "CHANNELS",
    "champion",
    "channel_history",
    "check_champion",
    "check_version",
    "find_version",
    "keep_run",
    "list_versions",
    "look_at_versions",
    "promote",
    "publish",
    "read_run",
    "read_version",
    "register",
    "resolve",
    "rollback",
    "version_folder",
]
