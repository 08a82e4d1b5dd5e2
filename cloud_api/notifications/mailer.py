"""The port through which mail leaves, and the two ways in which it can fail to.

A mailer hands over one message and says nothing if that worked. It never retries: the job does, which remembers. No error names
an address or repeats what a server answered in words, because both end up in logs.
"""

from email.message import EmailMessage
from typing import Protocol

from shared.errors import InvalidError, UnavailableError


class MailDelayedError(UnavailableError):
    """It may work later: nobody answered, the server is busy, or we are set up wrongly and somebody will mend that."""

    code = "mail_delayed"


class MailRefusedError(InvalidError):
    """It will not work later: the receiving side does not take mail for this address, or not this mail."""

    code = "mail_refused"


class Mailer(Protocol):
    async def send(self, message: EmailMessage) -> None:
        """Returns when somebody else is responsible for the message.

        Raises:
            MailDelayedError: not now.
            MailRefusedError: never.
        """
