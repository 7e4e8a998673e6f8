"""The food detector: train, evaluate, gate, export, run."""
