"""Models of words."""
