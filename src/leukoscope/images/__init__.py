"""From image files to RGB pixels, and the first steps on pixels: light, stain, frame."""
