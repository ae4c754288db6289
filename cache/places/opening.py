"""Opening the place where a store lies: a folder or a bucket."""

from .folder import Folder
from .location import Location, Url
from .place import Place


def place_at(location: Location) -> Place:
    """Where to read and write what lies at a location.

    Raises:
        StoreError: The URL is no bucket that can be had.
    """
    if isinstance(location, Url):
        # obstore is loaded only by those who need it.
        from .bucket import Bucket

        return Bucket(location)
    return Folder(location)
