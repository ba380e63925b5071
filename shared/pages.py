"""Page sizes, alike in every list method. Page tokens are in shared/tokens.py."""

from shared.errors import FieldViolation, InvalidArgument


def page_size(field: str, requested: int, *, default: int, maximum: int) -> int:
    """How many entries to answer: the default for 0, at most the maximum.

    field: the name of the field in the request, for the error.
    InvalidArgument when the number is negative.
    """
    if requested < 0:
        why = f"is {requested:,}, must be 0 or more: 0 means {default:,}, above {maximum:,} it is {maximum:,}"
        raise InvalidArgument(f"{field} {why}", violations=[FieldViolation(field, why)])
    return min(requested or default, maximum)
