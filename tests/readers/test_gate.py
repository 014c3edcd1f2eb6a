"""The gate around GDAL, and forks that wait for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from geodata.readers import gate as module
from geodata.readers.gate import Gate


def started(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_closing_waits_until_all_have_left_and_keeps_others_out():
    gate, order, leave, inside = Gate(), [], threading.Event(), threading.Event()

    def stay():
        with gate.passing():
            inside.set()
            leave.wait(30)
            order.append("left")

    def close():
        gate.close()
        order.append("closed")

    def come():
        with gate.passing():
            order.append("came")

    staying = started(stay)
    assert inside.wait(30)
    closing = started(close)
    time.sleep(0.1)
    coming = started(come)
    time.sleep(0.1)
    assert order == []
    leave.set()
    closing.join(30)
    staying.join(30)
    time.sleep(0.1)
    assert order == ["left", "closed"], "who comes while it is closed waits"
    gate.reopen()
    coming.join(30)
    assert order == ["left", "closed", "came"]


def test_who_is_inside_may_pass_again_and_close_it_for_the_others(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 600)
    gate, done = Gate(), []

    def work():
        with gate.passing():
            closing = started(gate.close)
            time.sleep(0.1)
            with gate.passing():  # closing must not wait for what waits for it
                done.append("nested")
        closing.join(30)
        gate.reopen()
        with gate.passing():
            gate.close()  # this thread alone is inside
            gate.reopen()
            done.append("alone")

    started(work).join(20)
    assert done == ["nested", "alone"] and gate._inside == 0


def test_an_error_inside_lets_go():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.passing():
        raise ZeroDivisionError
    gate.close()
    gate.reopen()
    assert gate._inside == 0


def test_one_that_never_leaves_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    gate, leave, inside = Gate(), threading.Event(), threading.Event()

    def stay():
        with gate.passing():
            inside.set()
            leave.wait(30)

    staying = started(stay)
    assert inside.wait(30)
    gate.close()
    gate.reopen()
    leave.set()
    staying.join(30)
    assert gate._inside == 0


def test_two_that_want_to_be_alone_take_turns():
    inside, most = [], []

    def work():
        for _ in range(20):
            with module.alone():
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [started(work) for _ in range(3)]
    for thread in threads:
        thread.join(60)
    assert len(most) == 60 and max(most) == 1


SCRIPT = """
import json, os, sys, threading, time
from geodata.readers import gate

passing = gate.passing
if sys.argv[1] == "without":
    from contextlib import nullcontext as passing

lock = threading.Lock()  # stands for one inside of a C library, which nobody renews in a child
stop = threading.Event()


def work():
    while not stop.is_set():
        with passing():
            with lock:
                time.sleep(0.05)


threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
free = 0
for _ in range(8):
    time.sleep(0.02)
    child = os.fork()
    if not child:
        with passing():
            os._exit(int(lock.acquire(timeout=0.5)))
    free += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
stop.set()
for thread in threads:
    thread.join()
with gate.passing():
    child = os.fork()  # a process may be forked from inside
if not child:
    with gate.passing():
        os._exit(2 + gate._gate._inside)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
print(json.dumps(free))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("how", "free"), [("with", 8), ("without", 0)])
def test_no_lock_is_held_in_a_child(how, free, tmp_path):
    """Two threads hold a lock nearly all the time: a fork that does not wait for them copies it locked."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == 8 if free else found < 8
