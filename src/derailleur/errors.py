"""Every error that this package raises on purpose.

    DerailleurError             the work failed                       exit code 1
    ├── ShapeError              tensors that do not fit together
    ├── CapacityError           memory or slots ran out
    └── UserError               the call was wrong                    exit code 2
        ├── ArgumentError       an argument of a Python call
        ├── ConfigError         a configuration key or value
        ├── DataError           a file, a row or a column
        ├── CheckpointError     a model folder
        └── PlacementError      a placement or a preset name

A message is one line: what was got, what was expected, what to do.
"""


class DerailleurError(Exception):
    """The work failed; the command line exits with 1."""


class ShapeError(DerailleurError, ValueError):
    """Tensors whose shapes do not fit together."""


class CapacityError(DerailleurError):
    """A request needs more memory or more positions than there are."""


class UserError(DerailleurError):
    """The call was wrong; the command line prints the message alone and exits with 2."""


class ArgumentError(UserError, ValueError):
    """An argument that is not supported or does not fit; the message names it."""


class ConfigError(UserError):
    """An unknown key, or a value of the wrong type or range; the message names the key."""


class DataError(UserError):
    """Input that is missing or malformed; the message names the file and the row or column."""


class CheckpointError(UserError):
    """A model folder that cannot be loaded; the message names the file or the field."""


class PlacementError(UserError, ValueError):
    """A placement that does not parse, or a preset name that is not known."""
