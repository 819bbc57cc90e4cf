"""A real browser that reaches the server through a proxy that ends TLS."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from .conftest import Opens, Started


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, Callable[[int], None]]]:
    """Its address, and a function that says which port of this machine it stands in front of."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, which makes a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening, ports = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=relay, args=(plain,), daemon=True).start()

    def relay(plain: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as client:
            client.settimeout(60)
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=60) as server:
                replies = threading.Thread(target=pump, args=(server, client), daemon=True)
                replies.start()
                pump(client, server)
                replies.join(60)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=accept, daemon=True).start()
    yield f"https://localhost:{listening.getsockname()[1]}", ports.append
    listening.close()


@pytest.mark.parametrize("is_public_url_given", [True, False])
def test_behind_tls_the_cookie_is_secure_and_forms_work(
    window: Opens,
    served: Started,
    queue: ReviewQueue,
    proxy: tuple[str, Callable[[int], None]],
    is_public_url_given: bool,
) -> None:
    address, stand_before = proxy
    options = PageOptions(reviews=queue, public_url=address if is_public_url_given else "")
    base = served(options, keys=Keys({hash_of("right"): Caller("anna")}))
    stand_before(int(base.rpartition(":")[2]))
    one = window(address, ignore_https_errors=True)
    one.open("/reviews")
    [first] = one.context.cookies()
    assert first["secure"] == is_public_url_given  # without, the first page cannot tell that there is TLS
    origins = []
    one.page.on("request", lambda request: request.method == "POST" and origins.append(request.headers.get("origin")))
    one.page.get_by_label("API key").fill("right")
    one.press("Sign in")
    one.see("Signed in: anna")
    [cookie] = one.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    one.open("/")
    one.page.get_by_label("Question").fill("Fever?")
    one.press("Ask")
    one.see("A person decides")
    assert set(origins) == {address}  # and not null
    one.press("Sign out")
    one.see("API key")
