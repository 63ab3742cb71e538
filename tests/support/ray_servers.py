"""What answers at the addresses of a Ray cluster, as far as its rules of access go."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc


@contextmanager
def gcs(host: str, status: grpc.StatusCode | None) -> Iterator[str]:
    """What answers at a cluster's address: with ``status``, or as one that asks for nothing."""

    def cluster_id(request: bytes, context: grpc.ServicerContext) -> bytes:
        if status is not None:
            context.abort(status, "no")
        return b""

    handler = grpc.unary_unary_rpc_method_handler(cluster_id)
    service = "ray.rpc.NodeInfoGcsService"
    server = grpc.server(futures.ThreadPoolExecutor(1))
    methods = {"GetClusterId": handler}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"{host}:{port}"
    finally:
        server.stop(None)


@dataclass(frozen=True, kw_only=True)
class JobServer:
    """A job server.

    Attributes:
        url: its address.
        tokens: what requests had for authorization, one entry a request.
    """

    url: str
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def job_server(host: str, status: int, *, location: str = "") -> Iterator[JobServer]:
    """A job server that answers every request with ``status``, and perhaps sends on."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.tokens.append(self.headers.get("Authorization"))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer((host, 0), Handler)
    served = JobServer(url=f"http://{host}:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
