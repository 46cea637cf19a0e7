"""The main job in one minute: a server, certificates of two CAs, renewal, revocation, with proof.

Everything happens on loopback and in a temporary directory that is gone at the end.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from demo import globalsign

CERTCTL = str(Path(sys.executable).with_name("certctl"))
NAMES = ["www.demo.test", "localhost", "127.0.0.1"]
START_SECONDS = 60
CRL_SECONDS = 20


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)


def run(*command: str, says: str = "", refused: bool = False, key_file: Path | None = None) -> str:
    """Run a command as an operator would, showing it and what it prints.

    It has to succeed, or to fail where `refused` is set, and to print `says`. With `key_file`, it
    has the API key in there.
    """
    shown = [Path(part).name if part == CERTCTL else part for part in command]
    before = "" if key_file is None else f'CERTCTL_API_KEY="$(cat {key_file})" '
    print(f"$ {before}{shlex.join(shown)}", flush=True)
    key = {} if key_file is None else {"CERTCTL_API_KEY": key_file.read_text().strip()}
    done = subprocess.run(
        command,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **key},
    )
    print(done.stdout.rstrip(), flush=True)
    if refused:
        print(f"(exit code {done.returncode}: refused, as it has to be)", flush=True)
    if bool(done.returncode) is not refused:
        raise SystemExit(f"demo: that ended with exit code {done.returncode}")
    if says not in done.stdout:
        raise SystemExit(f"demo: that did not say {says!r}")
    return done.stdout


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait until it says that it is ready."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CERTCTL_")
    }
    log = folder / "server.log"
    data = folder / "data"
    command = [CERTCTL, "server", "--data-dir", str(data), "--port", str(port)]
    command += ["--status-port", "0"]
    print(f"$ certctl server --data-dir data --port {port} --status-port 0 &", flush=True)
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    deadline = time.monotonic() + START_SECONDS
    while not (data / "server.json").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            print(log.read_text())
            server.kill()
            raise SystemExit("demo: the server did not start")
        time.sleep(0.05)
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve_tls(chain: Path, key: Path) -> tuple[socket.socket, int]:
    """A small TLS server with the new certificate, in a thread; ends when its socket closes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(b"hello from a certificate made by certctl\n")
                    tls.unwrap()
            except OSError:
                continue  # the peer left without a farewell, which is its right

    threading.Thread(target=serve, daemon=True).start()
    return listener, listener.getsockname()[1]


def wait_for_crl(url: str, serial: str) -> None:
    """Wait until the CRL at that address lists a serial number (hex)."""
    wanted = bytes.fromhex(serial.rjust(len(serial) + len(serial) % 2, "0"))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + CRL_SECONDS
    while time.monotonic() < deadline:
        try:
            with direct.open(url, timeout=CRL_SECONDS) as answer:
                if wanted in answer.read():
                    return
        except urllib.error.HTTPError:
            pass  # the very first CRL is not made yet
        time.sleep(0.25)
    raise SystemExit("demo: no CRL lists the revoked certificate")


def show(folder: Path) -> None:
    os.chdir(folder)
    os.environ["CERTCTL_DATA_DIR"] = "data"
    for name in ("CERTCTL_SERVER_URL", "CERTCTL_API_KEY", "CERTCTL_CA_BUNDLE"):
        os.environ.pop(name, None)
    os.environ["no_proxy"] = "127.0.0.1"  # openssl follows http_proxy, and all this is here

    say("2. The Local CA exists from the first start; this is its root, for those who trust it")
    run(CERTCTL, "issuers", "ca", "iss-local", "--out", "root.pem")

    say("3. Make a key and a CSR here, send only the CSR, get the certificate")
    issued = run(CERTCTL, "issue", *NAMES, "--days", "30", "--owner", "demo")
    certificate_id = issued.split()[1]
    key = Path("www.demo.test.key")
    leaf = Path("www.demo.test.crt")
    chain = Path("www.demo.test.chain.crt")
    print(f"key file mode: {key.stat().st_mode & 0o777:o} (it never left this machine)")

    say("4. openssl agrees: it is signed by that root, for that name and that address")
    for check in (["-verify_hostname", "www.demo.test"], ["-verify_ip", "127.0.0.1"]):
        run("openssl", "verify", "-x509_strict", "-CAfile", "root.pem", *check, str(leaf))

    say("5. Serve it: openssl s_client and Python accept the connection, trusting only that root")
    listener, port = serve_tls(chain, key)
    with listener:
        run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", "root.pem",
            "-servername", "www.demo.test", "-verify_hostname", "www.demo.test",
            "-verify_return_error", "-brief", "-ign_eof",
        )  # fmt: skip
        context = ssl.create_default_context(cafile="root.pem")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            print(f"Python ({tls.version()}): {tls.recv(100).decode().strip()}", flush=True)

    say("6. Renew it: the same names, a new key, a second version")
    run(CERTCTL, "renew", certificate_id, "--out", "renewed")
    versions = run(CERTCTL, "certs", "versions", certificate_id)
    first_version, *_, serial = versions.splitlines()[-1].split()

    say("7. Say that the first key has leaked: revoke the first version, and only that")
    run(
        CERTCTL, "revoke", certificate_id, "--version", first_version,
        "--reason", "keyCompromise", "--yes",
    )  # fmt: skip

    say("8. OCSP tells everybody at once, at the address that the certificates name")
    for certificate, status in ((str(leaf), "revoked"), ("renewed.crt", "good")):
        url = run("openssl", "x509", "-in", certificate, "-noout", "-ocsp_uri").strip()
        run(
            "openssl", "ocsp", "-issuer", "root.pem", "-CAfile", "root.pem",
            "-cert", certificate, "-url", url, says=f"{certificate}: {status}",
        )  # fmt: skip

    say("9. So does the CRL, about a second later; openssl fetches it from where they say")
    text = run("openssl", "x509", "-in", str(leaf), "-noout", "-ext", "crlDistributionPoints")
    wait_for_crl(text[text.index("http://") :].split()[0], serial)
    verify = ["openssl", "verify", "-crl_check", "-crl_download", "-CAfile", "root.pem"]
    run(*verify, str(leaf), refused=True, says="certificate revoked")
    run(*verify, "renewed.crt")

    atlas = Path("globalsign")
    with globalsign.stand_in(atlas) as ca:
        say("10. Another CA: GlobalSign Atlas, here a stand-in on loopback that speaks its API")
        globalsign.configure(run, CERTCTL, ca, atlas)

        say("11. A certificate from there takes a moment: fetch it when it is ready, revoke it")
        print(globalsign.live(run, CERTCTL, ca), flush=True)

    show_a_key_of_its_own()

    say("14. The inventory and the audit log remember it all")
    run(CERTCTL, "certs")
    run(CERTCTL, "audit")
    run(CERTCTL, "audit", "verify")


def show_a_key_of_its_own() -> None:
    say("12. Give a deployment tool a key of its own: one CA, one profile, names below demo.test")
    deploy = Path("deploy.key")
    run(
        CERTCTL, "keys", "create", "deploy tool", "--role", "operator", "--issuer", "iss-local",
        "--profile", "prof-tls-server", "--name", "*.demo.test", "--days", "90",
        "--out", str(deploy),
    )  # fmt: skip

    say("13. The tool gets its certificates with it, and sees no others; the rest is refused")
    run(CERTCTL, "issue", "api.demo.test", key_file=deploy)
    run(CERTCTL, "issue", "www.elsewhere.test", key_file=deploy, refused=True, says="scope")
    run(CERTCTL, "certs", key_file=deploy)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="certctl-demo-") as name:
        folder = Path(name)
        say("1. Start a server on loopback, with SQLite and its Local CA, in a temporary directory")
        server = start_server(folder, free_port())
        try:
            show(folder)
        finally:
            os.chdir("/")
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    if code:
        raise SystemExit(f"demo: the server ended with exit code {code}")
    say("Done: the server has stopped and the temporary directory is gone. Next: make run")


if __name__ == "__main__":
    main()
