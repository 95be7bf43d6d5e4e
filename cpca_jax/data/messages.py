"""Messages that may be very numerous."""

from collections.abc import Sequence

from cpca_jax.types import Say

# The number of messages of one kind that are said before the rest is only counted.
_LISTED = 5


def say_first(verb: str, messages: Sequence[str], say: Say, *, rest: str = "more") -> None:
    """Say the first few messages, and the number of the others.

    Args:
        verb: the fate of the things that the messages are about, such as "refused".
        messages: one line each.
        say: the receiver of the lines.
        rest: the words after the number of the others.
    """
    for message in messages[:_LISTED]:
        # The name of a file may hold a line feed, which would forge a line.
        say(f"{verb}: {' '.join(message.split())}")
    if len(messages) > _LISTED:
        say(f"{verb}: {len(messages) - _LISTED} {rest}")
