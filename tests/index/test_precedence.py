"""Who answers somebody goes before who works in the background."""

import threading

from mcp_server.index.precedence import Precedence


def test_work_goes_on_at_once_while_nobody_is_answered() -> None:
    assert list(Precedence().in_between(range(3))) == [0, 1, 2]


def test_work_waits_until_the_answer_is_made() -> None:
    precedence, done = Precedence(), threading.Event()

    def work() -> None:
        precedence.give_way()
        done.set()

    with precedence.answering():
        worker = threading.Thread(target=work)
        worker.start()
        early = done.is_set()
    worker.join()
    assert not early
    assert done.is_set()


def test_work_gets_on_under_questions_without_a_pause() -> None:
    precedence = Precedence()
    with precedence.answering(), precedence.answering():
        assert list(precedence.in_between(range(2))) == [0, 1]
