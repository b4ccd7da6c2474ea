"""Values with the locations where they were written."""

from collections.abc import Container, Mapping
from typing import Any

from ltbench.config.errors import Location, Merged

Values = tuple[Any, Location]
"""Values of a file, or of a part of it, and their location."""


def merge(own: Values, base: Values, appended: Container[str] = ()) -> Values:
    """Return values merged over a base; anything but mappings is replaced.

    Args:
        own: values that win.
        base: values that they are merged over.
        appended: keys whose own list comes after that of the base.
    """
    (values, location), (inherited, origin) = own, base
    if not (isinstance(values, dict) and isinstance(inherited, dict)):
        return own
    merged: dict[str, Values] = {}
    for key in inherited | values:
        mine, theirs = (values.get(key), location.at(key)), (inherited.get(key), origin.at(key))
        if key in appended and key in values and key in inherited:
            merged[key] = _append(mine, theirs)
        elif key in values:
            merged[key] = merge(mine, theirs) if key in inherited else mine
        else:
            merged[key] = theirs
    return joined(merged, location)


def _append(own: Values, base: Values) -> Values:
    """Return a list behind a base's; anything but lists is replaced."""
    (values, location), (inherited, origin) = own, base
    if not (isinstance(values, list) and isinstance(inherited, list)):
        return own
    places = [*map(origin.at, range(len(inherited))), *map(location.at, range(len(values)))]
    return [*inherited, *values], Merged.of(location, dict(enumerate(places)))


def joined(parts: Mapping[str, Values], location: Location) -> Values:
    """Return located values as one mapping with its location."""
    values = {key: value for key, (value, _) in parts.items()}
    return values, Merged.of(location, {key: where for key, (_, where) in parts.items()})
