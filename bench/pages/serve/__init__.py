"""The page of `bench serve`: classify an image, translate it, generate images."""
