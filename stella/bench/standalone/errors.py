"""What a person is told when a stand-alone Stella cannot be started, stopped or asked."""


class StandaloneError(Exception):
    """It could not be done; one line for a person."""


class WrongRequest(StandaloneError):
    """It cannot be done as it was asked; one line that names the option. Nothing was changed."""
