"""The order of Hakka's steps, their branches and what they need of a cluster."""
