"""The one error of an image build."""


class ImageError(Exception):
    """An image cannot be built; the text says what to install or set."""
