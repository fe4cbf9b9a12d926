"""An agent that hears nothing any more, and one whose runner is slow: what each takes it for."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress

from agents import Raw, assert_ends, frozen, pid_in
from milabench.agent.serve import LINGER_S

SILENCE_S = 1.0
LONG = {"x" * 100_000: {"record": "/nowhere"}}  # one that is asked for by so long a name is answered as long
MANY = 80


def greet(agent: Raw) -> None:
    assert agent.reply(agent.send("hello", environ={}, silence_s=SILENCE_S))["event"] == "hello"


def test_an_agent_that_hears_nothing_for_too_long_ends_all_and_itself(agent: Raw) -> None:
    greet(agent)
    number = agent.start("echo $$ > pid; exec sleep 1000")
    pid = pid_in(agent.folder / "pid")
    assert agent.exit(number)["cause"] == "lost"
    assert_ends(pid)
    assert agent.process.wait(30) == 0


def test_a_word_in_time_keeps_it_going(agent: Raw) -> None:
    greet(agent)
    number = agent.start("exec sleep 1000")
    end = time.monotonic() + 2.5 * SILENCE_S
    while time.monotonic() < end:
        agent.send("alive")
        time.sleep(SILENCE_S / 10)
    agent.stop(number)
    assert agent.exit(number)["cause"] == "interrupt"


def test_an_agent_that_was_told_no_limit_waits(agent: Raw) -> None:
    assert agent.reply(agent.send("hello", environ={}, silence_s=None))["event"] == "hello"
    number = agent.start("sleep 1.5; exit 3")
    assert agent.exit(number)["code"] == 3


def test_a_runner_that_takes_replies_slowly_is_there(agent: Raw) -> None:
    """More replies wait than the agent keeps, so that it reads no words meanwhile."""
    greet(agent)
    number = agent.start("exec sleep 1000")
    sending = threading.Thread(target=lambda: [agent.send("missing", onces=LONG) for _ in range(MANY)])
    sending.start()
    assert agent.process.stdout is not None
    end = time.monotonic() + 2.5 * SILENCE_S
    while time.monotonic() < end:
        select.select([agent.process.stdout], [], [], 10)
        agent._inbox.extend(agent._frames.feed(os.read(agent.process.stdout.fileno(), 1 << 16)))
        time.sleep(SILENCE_S / 20)
    for _ in range(MANY):
        assert next(reply for reply in agent.replies() if reply["event"] == "missing")
    sending.join()
    agent.stop(number)
    assert agent.exit(number)["cause"] == "interrupt"


def test_a_runner_that_takes_none_is_not(agent: Raw) -> None:
    greet(agent)
    agent.start("echo $$ > pid; exec sleep 1000")
    pid = pid_in(agent.folder / "pid")
    with suppress(BrokenPipeError):
        for _ in range(MANY):
            agent.send("missing", onces=LONG)
    assert_ends(pid, timeout_s=30)
    ended = time.monotonic()
    assert agent.process.wait(30) == 0
    assert time.monotonic() - ended < LINGER_S / 2  # nobody is waited for who is not there


def test_an_agent_that_was_held_up_itself_hears_what_was_said_meanwhile(agent: Raw) -> None:
    greet(agent)
    number = agent.start("exec sleep 1000")
    assert agent.reply(number)["event"] == "started"
    frozen(agent)
    agent.send("alive")
    time.sleep(1.5 * SILENCE_S)
    agent.signal(signal.SIGCONT)
    agent.stop(number)
    assert agent.exit(number)["cause"] == "interrupt"
