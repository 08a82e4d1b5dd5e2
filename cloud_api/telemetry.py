"""What is logged, as JSON, one line for each thing that happened.

Never a secret, a token, a mail address or a text of a person: lines hold ids, counts, names of errors and places in the code.
"""

import logging
import sys

import structlog


def configure() -> None:
    """For this process, once, at its start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries quote values in what they log; only what they warn of is kept, and procrastinate's errors name a job's arguments.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
