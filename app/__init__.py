"""The cook's page: a photo in, ingredients and recipes out. It talks to the detector over HTTP only."""
