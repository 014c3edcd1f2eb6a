"""An S3 server on loopback, and a bad line to it: stores are tested against what other people wrote."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from geodata.errors import GeodataError

# Loopback is never reached by way of a proxy that the environment may name.
_opener = build_opener(ProxyHandler({}))


# Moto asks who it is, and believes it.
_HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    "Content-Type": "application/octet-stream",
}


def call(url, method="GET", data=None):
    """Status and body of a request that nothing of the library has a part in."""
    try:
        with _opener.open(Request(url, data=data, method=method, headers=_HEADERS), timeout=30) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def read_twice(files, queue):
    """What a new process does with files; here, where a spawned one finds it."""
    signal.alarm(60)
    try:
        queue.put([bytes(files.read("x")), files.requests["gets"]])
        with ThreadPoolExecutor(4) as pool:
            queue.put([bytes(part) for part in pool.map(lambda at: files.read("x", at, 1), range(5))])
    except GeodataError as error:
        queue.put(repr(error))


@contextmanager
def moto():
    """URL of a server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    call(f"{url}/moto-api/")
                    break
                except OSError:
                    assert process.poll() is None, "the server ended; is moto[s3] with flask installed?"
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def put(url, name, data):
    assert call(f"{url}/{quote(name)}", "PUT", data)[0] == 200


def get(url, name):
    status, data = call(f"{url}/{quote(name)}")
    return data if status == 200 else None


class Line(ThreadingHTTPServer):
    """Passes requests on to a server, remembers them, and fails as it is told.

    ``faults`` maps a method to what becomes of its next requests: "503", "403", "reset" (no answer), "cut" (half an
    answer), "" (passed on). ``always`` is for those after that; ``only`` picks requests by a text in their path.
    """

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), _Pass)
        self.target = target.removeprefix("http://")
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults, self.always, self.only = {}, {}, ""
        self.seen, self.busy, self.most, self.slow = [], 0, 0, 0.0
        self.lock = threading.Lock()

    def gets(self):
        return [(path, part) for method, path, part in self.seen if method == "GET"]

    def handle_error(self, request, client_address):
        pass  # a client that went away is what is tested

    def fault(self, method, path):
        with self.lock:
            if self.only not in path:
                return ""
            waiting = self.faults.get(method)
            return waiting.pop(0) if waiting else self.always.get(method, "")


class _Pass(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        line = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with line.lock:
            line.seen.append((self.command, self.path, self.headers.get("Range")))
            line.busy += 1
            line.most = max(line.most, line.busy)
        try:
            time.sleep(line.slow)
            self.answer(line.fault(self.command, self.path), body)
        finally:
            with line.lock:
                line.busy -= 1

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def answer(self, fault, body):
        if fault == "reset":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault in ("403", "503"):
            page = b"<Error><Code>Told</Code><Message>so</Message><StringToSign>SECRET</StringToSign></Error>"
            self.send_response(int(fault))
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)
            return
        there = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            data = answer.read()
        finally:
            there.close()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
        if fault == "cut":
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args):
        pass
