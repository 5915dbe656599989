"""The one way from an image file to RGB pixels, and what is done to pixels first: light, stain, frame."""
