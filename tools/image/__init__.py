"""Builds MicroPython images with the firmware frozen in."""
