"""The frozen encoders."""
