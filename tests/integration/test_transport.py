"""The way out over real sockets: TLS, kept connections, deadlines, proxies, and addresses that are refused."""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from standin.certificates import Authority, Certificate
from standin.proxy import Proxy
from standin.sinks import Mailbox, Receiver
from vaultbell import transport as transport_
from vaultbell.budget import Budget
from vaultbell.errors import Permanent, Transient
from vaultbell.transport import Answer, Transport, contexts_built

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.lower, PROXIES), "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.certificate()


@pytest.fixture
def secure(certificate: Certificate) -> Iterator[Receiver]:
    """A receiver that speaks TLS."""
    with Receiver(tls=certificate) as receiver:
        yield receiver


def within(seconds: float) -> Budget:
    return Budget(time.monotonic() + seconds)


def post(way: Transport, url: str, seconds: float = 5.0, body: bytes = b"{}", read: int = 0) -> Answer:
    return way.send("POST", url, headers={"X-Test": "1"}, body=body, budget=within(seconds), read=read)


def final(way: Transport, url: str) -> str:
    with pytest.raises(Permanent) as raised:
        post(way, url)
    return raised.value.message


def passing(way: Transport, url: str, seconds: float = 5.0, body: bytes = b"{}", read: int = 0) -> str:
    with pytest.raises(Transient) as raised:
        post(way, url, seconds, body, read)
    return raised.value.message


def resolving(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, list[str]]) -> list[str]:
    """Let these names have these addresses. What comes back lists the names as they are asked for."""
    real, asked = socket.getaddrinfo, list[str]()

    def look_up(host: str, port: int, type: int = 0, flags: int = 0) -> Sequence[tuple[object, ...]]:
        if flags & socket.AI_NUMERICHOST or host not in names:
            return real(host, port, type=type, flags=flags)
        asked.append(host)
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, type, 6, "", (ip, port)) for ip in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def ended(receiver: Receiver) -> None:
    """Wait until the receiver has ended its connections."""
    until = time.monotonic() + 5
    while receiver.open_connections:
        assert time.monotonic() < until
        time.sleep(0.001)  # nothing tells


@contextmanager
def swallowing(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port on which no further connection is taken and none refused: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """A port on which connections are taken, and nothing is ever read or said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# TLS


def test_a_private_ca_is_trusted_by_the_channels_file(secure: Receiver, authority: Authority) -> None:
    assert post(Transport(ca_file=authority.file), secure.url).status == 200


def test_a_private_ca_is_trusted_by_the_environments_file(
    secure: Receiver, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert post(Transport(), secure.url).status == 200


def test_the_channels_file_replaces_the_environments(
    secure: Receiver, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", other.file)
    assert post(Transport(ca_file=authority.file), secure.url).status == 200
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert "not trusted" in final(Transport(ca_file=other.file), secure.url)


def test_a_certificate_of_an_unknown_ca_is_final_and_nothing_is_sent(secure: Receiver) -> None:
    assert final(Transport(), secure.url).startswith("127.0.0.1: its certificate is not trusted (")
    assert secure.requests == []


def test_a_certificate_for_another_host_is_final_and_nothing_is_sent(secure: Receiver, authority: Authority) -> None:
    error = final(Transport(ca_file=authority.file), f"https://localhost:{secure.port}/")
    assert error.startswith("localhost: its certificate is not trusted (Hostname mismatch")
    assert secure.requests == []


def test_a_ca_file_without_a_certificate_is_told(secure: Receiver, tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    for path in (str(broken), str(tmp_path / "nothing")):
        assert final(Transport(ca_file=path), secure.url) == "no CA certificate can be read from the CA file"


def test_a_peer_that_speaks_something_else_than_tls_may_pass(mailbox: Mailbox) -> None:
    assert passing(Transport(), f"https://127.0.0.1:{mailbox.port}/") == "127.0.0.1: the TLS handshake failed"


def test_the_cas_are_loaded_once_a_process_whoever_asks_and_however_many_at_once(
    secure: Receiver, authority: Authority, tmp_path: Path
) -> None:
    copy = shutil.copy(authority.file, tmp_path / "copy.pem")
    before = contexts_built()
    ways = [Transport(ca_file=str(copy)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda way: post(way, secure.url).status, ways * 4))
    assert answers == [200] * 32
    assert contexts_built() - before == 1
    assert len({way.tls for way in ways}) == 1


# Kept connections


@pytest.mark.parametrize("tls", [False, True])
def test_connections_are_kept_and_shared_by_threads(
    receiver: Receiver, secure: Receiver, authority: Authority, tls: bool
) -> None:
    there, way = secure if tls else receiver, Transport(ca_file=authority.file)
    for _ in range(20):
        assert post(way, f"{there.url}/bell").status == 200
    assert there.connections == 1
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: post(way, there.url).status, range(200))) == [200] * 200
    assert there.connections <= 8


def test_the_same_way_out_under_another_name_uses_the_same_connections(receiver: Receiver) -> None:
    way = Transport()
    for name in ("ops", "mail", "oncall"):
        assert post(way.named(name, "allow_private"), receiver.url).status == 200
    assert post(way, receiver.url).status == 200
    assert receiver.connections == 1


def test_a_connection_that_was_ended_meanwhile_is_made_anew(receiver: Receiver) -> None:
    receiver.answer(kind="truncate", body=b"four", keep=4)  # that is all of it, and then the connection ends
    way = Transport()
    for number in (1, 2, 3):
        assert post(way, receiver.url).status == 200
        ended(receiver)
        assert receiver.connections == number


def test_a_connection_obeys_the_deadline_of_whoever_uses_it_now(receiver: Receiver) -> None:
    way, short = Transport(), within(0.15)
    way.send("GET", receiver.url, headers={}, budget=short)
    time.sleep(short.left + 0.01)
    assert post(way, receiver.url).status == 200
    receiver.answer(kind="hang")
    assert passing(way, receiver.url, 0.2) == "127.0.0.1: no answer in time"
    assert receiver.connections == 1


def test_nothing_is_left_open_whatever_goes_wrong(
    receiver: Receiver, secure: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: left_open.append(unraisable.exc_value))
    for kind in ("reset", "garbage", "truncate", "hang_body"):
        receiver.answer(f"/{kind}", body=b"x" * 10, kind=kind)
    receiver.answer("/hang", kind="hang")
    way = Transport()
    for path in ("fine", "reset", "garbage", "truncate", "hang_body"):
        with ExitStack() as stack:
            if path in ("reset", "garbage"):
                stack.enter_context(pytest.raises(Transient))
            post(way, f"{receiver.url}/{path}")
    passing(way, f"{receiver.url}/hang", 0.1)
    final(way, secure.url)
    final(Transport(allow_private=False), receiver.url)
    del way
    gc.collect()
    assert left_open == []


# Deadlines


def test_a_name_look_up_that_hangs_costs_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    real, end = socket.getaddrinfo, threading.Event()

    def look_up(host: str, port: int, type: int = 0, flags: int = 0) -> object:
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, type=type, flags=flags)
        end.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    assert passing(Transport(), "http://hooks.example.org/", 0.2) == "hooks.example.org: no answer in time"
    assert time.monotonic() - began < 2
    end.set()


def test_a_connection_that_is_neither_taken_nor_refused_costs_no_more_than_the_budget() -> None:
    began = time.monotonic()
    with swallowing() as port:
        assert passing(Transport(), f"http://127.0.0.1:{port}/", 0.2) == "127.0.0.1: no answer in time"
    assert time.monotonic() - began < 2


def test_a_handshake_that_hangs_costs_no_more_than_the_budget() -> None:
    began = time.monotonic()
    with silent() as port:
        assert passing(Transport(), f"https://127.0.0.1:{port}/", 0.2) == "127.0.0.1: no answer in time"
    assert time.monotonic() - began < 2


def test_a_peer_that_reads_nothing_costs_no_more_than_the_budget() -> None:
    began = time.monotonic()
    with silent() as port:
        assert passing(Transport(), f"http://127.0.0.1:{port}/", 0.2, b"x" * 50_000_000).endswith("no answer in time")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_a_peer_that_trickles_costs_no_more_than_the_budget(
    receiver: Receiver, secure: Receiver, authority: Authority, tls: bool, head: bool
) -> None:
    there = secure if tls else receiver
    there.answer(body=b"x" * 1_000, kind="trickle", pause=0.02, head=head)
    began = time.monotonic()
    error = passing(Transport(ca_file=authority.file), there.url, 0.25, read=5_000)
    assert error == "127.0.0.1: no answer in time"
    assert time.monotonic() - began < 2


def test_with_nothing_left_nothing_is_sent(receiver: Receiver) -> None:
    way = Transport()
    assert passing(way, receiver.url, 0.0) == "127.0.0.1: no answer in time"
    assert post(way, receiver.url).status == 200
    assert passing(way, receiver.url, -1.0) == "127.0.0.1: no answer in time"
    assert len(receiver.requests) == 1


def test_a_dead_address_leaves_the_others_their_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"hooks.example.org": ["127.0.0.2", "127.0.0.1"]})
    url = f"http://hooks.example.org:{receiver.port}/"
    assert post(Transport(), url).status == 200  # the first one refuses
    with swallowing("127.0.0.2", receiver.port):
        assert post(Transport(), url, 1.0).status == 200
    assert len(receiver.requests) == 2


# Answers


def test_as_much_is_read_as_is_asked_for_and_no_more(receiver: Receiver) -> None:
    receiver.answer(body=b"x" * 10, headers={"X-Odd": "yes"}, status=418)
    answer = post(Transport(), receiver.url, read=10)
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (418, b"x" * 10, "yes")
    assert passing(Transport(), receiver.url, read=9) == "127.0.0.1 answered more than 9 bytes"


def test_an_answer_that_is_read_and_cut_short_may_pass(receiver: Receiver) -> None:
    receiver.answer(body=b"x" * 10, kind="truncate", keep=9)
    assert passing(Transport(), receiver.url, read=100) == "127.0.0.1: the answer was cut short"


def test_a_packed_answer_is_not_unpacked_behind_our_back(receiver: Receiver) -> None:
    receiver.answer(body=b"\x1f\x8b not really", headers={"Content-Encoding": "gzip"})
    assert post(Transport(), receiver.url, read=100).body == b"\x1f\x8b not really"
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/s3cret", "http:///s3cret", "s3cret", "http://[::1/s3cret"])
def test_what_is_no_web_address_is_final_and_not_shown(url: str) -> None:
    assert final(Transport(), url) == "the address: this is no http(s) address"
    assert final(Transport(name="ops"), url) == "ops: this is no http(s) address"


def test_a_name_that_no_host_can_have_is_final() -> None:
    assert "s3cret" not in (error := final(Transport(), f"http://{'x' * 64}.example.org/s3cret"))
    assert error.endswith("this is no host name")


@pytest.mark.parametrize("header", ["a\r\nb: c", "a\nb", "\u2028"])
def test_a_header_that_would_be_two_is_not_sent(receiver: Receiver, header: str) -> None:
    with pytest.raises(Permanent) as raised:
        Transport().send("GET", receiver.url, headers={"X-Test": header}, budget=within(5))
    assert raised.value.message == "127.0.0.1: its address, its proxy or a header cannot be sent as it is"
    assert receiver.requests == []


# Addresses that nobody may connect to

METADATA = [
    ("169.254.169.254", "169.254.169.254", "cloud metadata"),
    ("100.100.100.200", "100.100.100.200", "cloud metadata"),
    ("[fd00:ec2::254]", "fd00:ec2::254", "cloud metadata"),
    ("[fe80::1]", "fe80::1", "link-local"),
    ("169.254.1.1", "169.254.1.1", "link-local"),
    ("2852039166", "169.254.169.254", "cloud metadata"),
    ("0xa9fea9fe", "169.254.169.254", "cloud metadata"),
    ("0251.0376.0251.0376", "169.254.169.254", "cloud metadata"),
    ("169.254.43518", "169.254.169.254", "cloud metadata"),
    ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254", "cloud metadata"),
    ("[64:ff9b::a9fe:a9fe]", "64:ff9b::a9fe:a9fe", "cloud metadata"),
    ("[2002:a9fe:a9fe::1]", "2002:a9fe:a9fe::1", "cloud metadata"),
]
LOOPBACK = [
    ("127.0.0.1", "127.0.0.1", "loopback"),
    ("127.1", "127.0.0.1", "loopback"),
    ("2130706433", "127.0.0.1", "loopback"),
    ("0.0.0.0", "0.0.0.0", "this network"),
    ("[::1]", "::1", "loopback"),
    ("[::]", "::", "unspecified"),
    ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "loopback"),
    ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1", "loopback"),
    ("[2002:7f00:1::1]", "2002:7f00:1::1", "loopback"),
    ("[64:ff9b:1::1]", "64:ff9b:1::1", "local translation"),
    ("10.0.0.1", "10.0.0.1", "private"),
    ("100.64.0.1", "100.64.0.1", "shared (CGNAT)"),
]


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that is really connected to."""
    real, dialled = transport_._connected, list[str]()

    def connected(family: int, where: tuple[str, int]) -> socket.socket:
        dialled.append(where[0])
        return real(family, where)

    monkeypatch.setattr(transport_, "_connected", connected)
    return dialled


@pytest.mark.parametrize(("host", "ip", "reason"), METADATA)
def test_metadata_addresses_are_refused_always_in_whatever_form(
    host: str, ip: str, reason: str, dialled: list[str]
) -> None:
    way = Transport(allow_private=True, name="ops", setting="allow_private")
    error = final(way, f"http://{host}/latest/meta-data")
    assert error == f"ops: the address {ip} of {host.strip('[]')} is refused ({reason})"
    assert dialled == []


@pytest.mark.parametrize(("host", "ip", "reason"), LOOPBACK)
def test_other_addresses_are_refused_where_the_channel_says_so_and_the_error_says_what_would_allow_it(
    receiver: Receiver, host: str, ip: str, reason: str, dialled: list[str]
) -> None:
    way = Transport(allow_private=False, name="ops", setting="allow_private")
    error = final(way, f"http://{host}:{receiver.port}/s3cret")
    told = f"ops: the address {ip} of {host.strip('[]')} is refused ({reason}); allow_private would allow it"
    assert error == told
    assert dialled == []


def test_a_refusal_that_no_setting_would_lift_names_none(receiver: Receiver) -> None:
    error = final(Transport(allow_private=False), receiver.url)
    assert error == "127.0.0.1: the address 127.0.0.1 of 127.0.0.1 is refused (loopback)"


def test_mail_servers_are_judged_the_same(receiver: Receiver) -> None:
    way = Transport(allow_private=False, name="mail", setting="allow_private")
    with pytest.raises(Permanent, match=r"^mail: the address 127.0.0.1 of localhost .*; allow_private would allow it"):
        way.connect("localhost", receiver.port, within(5))


def test_a_name_is_judged_by_the_address_that_it_has(
    receiver: Receiver, dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, {"hooks.example.org": ["127.0.0.1"], "metadata.example.org": ["169.254.169.254"]})
    way = Transport(allow_private=False, name="ops", setting="allow_private")
    error = final(way, f"http://hooks.example.org:{receiver.port}/")
    told = "ops: the address 127.0.0.1 of hooks.example.org is refused (loopback); allow_private would allow it"
    assert error == told
    assert "(cloud metadata)" in final(Transport(), "http://metadata.example.org/")
    assert dialled == []


def test_of_several_addresses_only_those_that_are_allowed_are_tried(
    receiver: Receiver, dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ips = ["169.254.169.254", "::ffff:100.100.100.200", "127.0.0.1", "fe80::1"]
    resolving(monkeypatch, {"hooks.example.org": ips})
    assert post(Transport(), f"http://hooks.example.org:{receiver.port}/").status == 200
    assert dialled == ["127.0.0.1"]


def test_a_name_that_changes_its_address_after_it_was_judged_gains_nothing(
    receiver: Receiver, dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"hooks.example.org": ["127.0.0.1"]}
    asked, way = resolving(monkeypatch, names), Transport()
    url = f"http://hooks.example.org:{receiver.port}/"
    receiver.answer(kind="truncate", body=b"four", keep=4)  # the connection ends after each answer
    assert post(way, url).status == 200
    assert asked == ["hooks.example.org"]
    ended(receiver)
    names["hooks.example.org"] = ["169.254.169.254"]
    assert "(cloud metadata)" in final(way, url)
    assert (len(asked), dialled) == (2, ["127.0.0.1"])


def test_the_clouds_own_addresses_are_not_bound_by_this(receiver: Receiver) -> None:
    assert post(Transport(guarded=False, allow_private=False), receiver.url).status == 200


# Proxies


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.mark.parametrize("by", ["channel", "environment", "ENVIRONMENT"])
def test_plain_http_goes_through_the_proxy(
    receiver: Receiver, proxy: Proxy, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by != "channel":
        monkeypatch.setenv("http_proxy" if by.islower() else "HTTP_PROXY", proxy.url)
    way = Transport(proxy=proxy.url if by == "channel" else None)
    for _ in range(2):
        assert post(way, f"{receiver.url}/bell?a=b").status == 200
    assert proxy.asked == [f"POST {receiver.url}/bell?a=b HTTP/1.1"] * 2
    assert [(got.path, got.query, got.body) for got in receiver.requests] == [("/bell", "a=b", b"{}")] * 2


@pytest.mark.parametrize("by", ["channel", "environment", "ENVIRONMENT"])
def test_https_goes_through_a_tunnel_that_is_kept(
    secure: Receiver, authority: Authority, proxy: Proxy, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by != "channel":
        monkeypatch.setenv("https_proxy" if by.islower() else "HTTPS_PROXY", proxy.url)
    way = Transport(proxy=proxy.url if by == "channel" else None, ca_file=authority.file)
    for _ in range(3):
        assert post(way, f"{secure.url}/bell").status == 200
    assert [line.split()[:2] for line in proxy.asked] == [["CONNECT", f"127.0.0.1:{secure.port}"]]
    assert [got.path for got in secure.requests] == ["/bell"] * 3


@pytest.mark.parametrize("value", ["127.0.0.1", "example.org,127.0.0.0/8", "*"])
def test_no_proxy_is_honoured(receiver: Receiver, proxy: Proxy, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", value)
    assert post(Transport(), receiver.url).status == 200
    assert proxy.asked == []


def test_a_channels_own_proxy_comes_before_the_environments(
    receiver: Receiver, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert post(Transport(proxy=proxy.url), receiver.url).status == 200
    assert len(proxy.asked) == 1


def test_a_proxy_without_a_scheme_is_an_http_one(
    receiver: Receiver, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    assert post(Transport(), receiver.url).status == 200
    assert len(proxy.asked) == 1


def test_the_proxy_looks_names_up_and_the_receiver_proves_who_it_is(authority: Authority) -> None:
    with (
        Receiver(tls=authority.certificate("hooks.example.org")) as secure,
        Proxy(leads_to=("127.0.0.1", secure.port)) as proxy,
    ):
        way = Transport(proxy=proxy.url, ca_file=authority.file)
        assert post(way, "https://hooks.example.org/bell").status == 200
        assert [line.split()[:2] for line in proxy.asked] == [["CONNECT", "hooks.example.org:443"]]
        assert "Hostname mismatch" in final(way, "https://other.example.org/bell")
        assert len(secure.requests) == 1


def test_a_proxy_may_itself_be_spoken_to_over_tls(
    receiver: Receiver, secure: Receiver, authority: Authority, certificate: Certificate
) -> None:
    with Proxy(tls=certificate) as proxy:
        way = Transport(proxy=proxy.url, ca_file=authority.file)
        assert post(way, secure.url).status == 200
        assert post(way, receiver.url).status == 200
        assert [line.split()[0] for line in proxy.asked] == ["CONNECT", "POST"]
        assert "not trusted" in final(Transport(proxy=proxy.url), receiver.url)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxys_user_and_password_are_sent_to_it_alone(
    receiver: Receiver, secure: Receiver, authority: Authority, scheme: Literal["http", "https"]
) -> None:
    there = secure if scheme == "https" else receiver
    with Proxy(login=("bell", "pa:55/word")) as proxy:
        way = Transport(proxy=f"http://bell:pa%3A55%2Fword@127.0.0.1:{proxy.port}", ca_file=authority.file)
        assert post(way, there.url).status == 200
    assert "authorization" not in there.requests[0].headers
    if scheme == "https":  # else it stands in the one request, and is the proxy's to take out
        assert "proxy-authorization" not in there.requests[0].headers


def test_a_proxy_that_wants_to_know_who_we_are_is_told_of_without_its_password(
    receiver: Receiver, secure: Receiver, authority: Authority
) -> None:
    with Proxy(login=("bell", "right")) as proxy:
        way = Transport(proxy=f"http://bell:wr0ng@127.0.0.1:{proxy.port}", ca_file=authority.file)
        assert passing(way, secure.url) == "127.0.0.1: the proxy does not let us through"
        assert post(way, receiver.url).status == 407
    assert secure.requests + receiver.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_the_one_that_is_named(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        way = Transport(proxy=f"http://us3r:pa55word@127.0.0.1:{taken.getsockname()[1]}")
        assert passing(way, f"{scheme}://hooks.example.org/s3cret") == "127.0.0.1: connection refused"


def test_a_proxy_that_hangs_costs_no_more_than_the_budget() -> None:
    began = time.monotonic()
    with silent() as port:
        way = Transport(proxy=f"http://127.0.0.1:{port}")
        for scheme in ("http", "https"):
            error = passing(way, f"{scheme}://hooks.example.org/", 0.2)
            assert error == "hooks.example.org: no answer in time"
    assert time.monotonic() - began < 3


def test_through_a_proxy_an_address_is_judged_and_a_name_is_the_proxys_to_judge(receiver: Receiver) -> None:
    with Proxy(leads_to=("127.0.0.1", receiver.port)) as proxy:
        way = Transport(proxy=proxy.url, allow_private=False, name="ops", setting="allow_private")
        assert "(loopback); allow_private would allow it" in final(way, receiver.url)
        assert "(cloud metadata)" in final(way, "http://[::ffff:169.254.169.254]/")
        assert "(cloud metadata)" in final(Transport(proxy=proxy.url), "https://2852039166/")
        assert proxy.asked == []
        assert post(way, "http://hooks.example.org/").status == 200  # the proxy's own address may be private


def test_a_proxy_at_a_metadata_address_is_refused(dialled: list[str]) -> None:
    assert "(cloud metadata)" in final(Transport(proxy="http://169.254.169.254:3128"), "http://hooks.example.org/")
    assert dialled == []


# looking who is there, and asking nothing


def test_who_is_there_is_seen_without_a_request(
    secure: Receiver, authority: Authority, certificate: Certificate
) -> None:
    found = Transport(ca_file=authority.file).reach(f"{secure.url}/secret", within(5))
    own = ssl.PEM_cert_to_DER_cert(Path(certificate.cert).read_text())
    assert found[0] == own
    assert len(found) == (2 if sys.version_info >= (3, 13) else 1)  # the CA's as well
    assert secure.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_is_there_is_seen_through_a_proxy(
    scheme: str, secure: Receiver, receiver: Receiver, authority: Authority, proxy: Proxy
) -> None:
    there = secure if scheme == "https" else receiver
    found = Transport(proxy=proxy.url, ca_file=authority.file).reach(there.url, within(5))
    assert bool(found) == (scheme == "https")
    assert [line.split()[0] for line in proxy.asked] == (["CONNECT"] if scheme == "https" else [])
    assert there.requests == []


def test_who_is_not_there_is_told_as_when_something_is_sent(
    secure: Receiver, receiver: Receiver, authority: Authority, certificate: Certificate
) -> None:
    def told(way: Transport, url: str) -> str:
        with pytest.raises((Permanent, Transient)) as raised:
            way.reach(url, within(0.5))
        return raised.value.message

    assert "is not trusted" in told(Transport(), secure.url)
    assert "allow_private would allow it" in told(Transport(allow_private=False, setting="allow_private"), receiver.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hung = f"https://127.0.0.1:{silent.getsockname()[1]}"
        assert told(Transport(), hung) == "127.0.0.1: no answer in time"
        assert told(Transport(proxy=hung.replace("https", "http")), secure.url) == "127.0.0.1: no answer in time"
    with Proxy(login=("bell", "right")) as proxy:
        assert told(Transport(proxy=proxy.url), secure.url) == "127.0.0.1: the proxy does not let us through"
    with Proxy(tls=certificate) as proxy:  # what lies behind such a one is not looked at
        assert Transport(proxy=proxy.url, ca_file=authority.file).reach(secure.url, within(5)) == ()
