"""The container images, named once."""

TRAIN_IMAGE = "ghcr.io/hakka-food/hakka-train:0.1.0"
SERVE_IMAGE = "ghcr.io/hakka-food/hakka-serve:0.1.0"
APP_IMAGE = "ghcr.io/hakka-food/hakka-app:0.1.0"
MONITOR_IMAGE = "ghcr.io/hakka-food/hakka-monitor:0.1.0"
