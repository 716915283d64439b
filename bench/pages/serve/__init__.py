"""The page of `bench serve`: classify an image with a trained classifier, translate it, draw from a generator."""
