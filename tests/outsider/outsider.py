#!/usr/bin/env python3
"""A stranger at the door of a node: another implementation of libp2p (py-libp2p) that tries everything it can name.

    python3 -m venv target/outsider && target/outsider/bin/pip install -r tests/outsider/requirements.txt
    target/outsider/bin/python tests/outsider/outsider.py /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…

The address is one that `orbit node show NAME` prints. Everything is tried without membership: security protocols and
muxers other than the node's, every protocol by name, join messages that are wrong, random, oversized, nested or slow, and
connections that do nothing. What came back is printed as a table; --json also writes it to a file. Nothing is judged here.
"""

import argparse
import json
import logging
import random
import secrets
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import cbor2
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p import new_swarm
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

JOIN = "/orbit/join/1"

PROTOCOLS = [
    JOIN,
    "/orbit/control/1",
    "/orbit/pulse/1",
    "/orbit/system/1",
    "/orbit/api/1",
    "/orbit/join/0",
    "/orbit/join/2",
    "/orbit/join/1/",
    "/orbit/JOIN/1",
    "/orbit/link/1",
    "/orbit/raft/1",
    "/orbit",
    "/orbit/id/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/p2p/id/delta/1.0.0",
    "/ipfs/ping/1.0.0",
    "/ipfs/kad/1.0.0",
    "/ipfs/lan/kad/1.0.0",
    "/meshsub/1.0.0",
    "/meshsub/1.1.0",
    "/meshsub/1.2.0",
    "/floodsub/1.0.0",
    "/libp2p/circuit/relay/0.1.0",
    "/libp2p/circuit/relay/0.2.0/hop",
    "/libp2p/circuit/relay/0.2.0/stop",
    "/libp2p/autonat/1.0.0",
    "/libp2p/autonat/2/dial-request",
    "/libp2p/autonat/2/dial-back",
    "/libp2p/dcutr",
    "/libp2p/fetch/0.0.1",
    "/rendezvous/1.0.0",
    "/ipfs/bitswap/1.2.0",
    "/perf/1.0.0",
    "/http/1.1",
    "/",
    "ls",
    "na",
    "/multistream/1.0.0",
    "/" + "a" * 1000,
    "/" + "\u00fc" * 20,
]


@dataclass
class Result:
    """What was tried and what came of it."""

    part: str
    tried: str
    got: str
    seconds: float


RESULTS = []


# ---------------------------------------------------------------- reaching the node


class Node:
    """The node that is tried."""

    def __init__(self, address):
        self.info = info_from_p2p_addr(Multiaddr(address))
        parts = address.split("/")
        self.host, self.port = parts[2], int(parts[4])

    @asynccontextmanager
    async def connection(self):
        """A connection with an identity that nobody has seen, over Noise and yamux."""
        seed = secrets.token_bytes(32)
        keys = create_new_key_pair(seed)
        noise = NoiseTransport(keys, noise_privkey=create_noise_key().private_key)
        swarm = new_swarm(key_pair=keys, sec_opt={NOISE: noise}, listen_addrs=[])
        async with background_trio_service(swarm):
            swarm.peerstore.add_addrs(self.info.peer_id, self.info.addrs, 3600)
            connections = await swarm.dial_peer(self.info.peer_id)
            connections[0].seed = seed
            try:
                yield connections[0]
            finally:
                with trio.move_on_after(2):
                    await swarm.close()

    async def socket(self):
        """A bare TCP connection."""
        return await trio.open_tcp_stream(self.host, self.port)


def length_of(number):
    """An unsigned number as a varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def line(text):
    """One message of multistream-select."""
    data = text.encode() + b"\n"
    return length_of(len(data)) + data


HEADER = line("/multistream/1.0.0")


async def read_all(stream, limit=1 << 20):
    """All bytes up to the end, and how it ended."""
    got = b""
    try:
        while len(got) < limit:
            part = await stream.read(4096)
            if not part:
                return got, "closed"
            got += part
        return got, "flood"
    except Exception as error:  # py-libp2p has a dozen kinds for "the other side is gone"
        name = type(error).__name__
        return got, "closed" if "EOF" in name else "reset"


async def negotiate(stream, protocol):
    """Proposes a protocol: accepted, refused, or closed."""
    await stream.write(HEADER + line(protocol))
    got = b""
    try:
        while True:
            part = await stream.read(4096)
            if not part:
                return "closed without an answer" if len(got) <= len(HEADER) else shown(got[len(HEADER):])
            got += part
            rest = got[len(HEADER):]
            if got.startswith(HEADER) and rest:
                if rest.startswith(line("na")):
                    return "refused"
                return "ACCEPTED" if rest.startswith(line(protocol)) else f"answered {shown(rest)}"
    except Exception as error:
        return f"closed ({type(error).__name__})"


def shown(data):
    text = data[:60].decode(errors="replace").replace("\n", " ")
    return "".join(c if c.isprintable() else "·" for c in text) + ("…" if len(data) > 60 else "")


async def timed(part, tried, work, limit=40):
    """Runs one attempt; whatever happens is its result."""
    result = Result(part, tried, "NOTHING HAPPENED", 0.0)
    RESULTS.append(result)
    begun = time.monotonic()
    with trio.move_on_after(limit):
        try:
            result.got = await work()
        except Exception as error:
            result.got = f"connection refused or closed ({innermost(error)})"
    result.seconds = round(time.monotonic() - begun, 3)


async def together(part, attempts, at_once):
    """Runs named attempts, some at the same time."""
    places = trio.CapacityLimiter(at_once)

    async def one(tried, work, task_status):
        await places.acquire_on_behalf_of(tried)
        task_status.started()
        try:
            await timed(part, tried, work)
        finally:
            places.release_on_behalf_of(tried)

    async with trio.open_nursery() as nursery:
        for tried, work in attempts.items():
            await nursery.start(lambda task_status, tried=tried, work=work: one(tried, work, task_status))


def innermost(error):
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return type(error).__name__


# ---------------------------------------------------------------- before any stream


async def raw_bytes(node, data, wait=15):
    """Sends bytes on a bare connection; what comes back, and how it ends."""
    stream = await node.socket()
    got = b""
    begun = time.monotonic()
    with trio.move_on_after(wait):
        try:
            await stream.send_all(data)
            while True:
                part = await stream.receive_some(4096)
                if not part:
                    break
                got += part
        except trio.BrokenResourceError:
            return f"{shown(got)} then reset".strip()
        finally:
            await trio.aclose_forcefully(stream)
        return f"{shown(got)} then closed after {time.monotonic() - begun:.0f} s".strip()
    return f"{shown(got)} then still open after {wait} s".strip()


async def security(node):
    for name in ["/noise", "/tls/1.0.0", "/plaintext/2.0.0", "/secio/1.0.0", "/yamux/1.0.0", JOIN]:

        async def propose(name=name):
            stream = await node.socket()
            with trio.fail_after(15):
                await stream.send_all(HEADER + line(name))
                got = b""
                while len(got) <= len(HEADER):
                    part = await stream.receive_some(4096)
                    if not part:
                        return "closed without an answer"
                    got += part
            await trio.aclose_forcefully(stream)
            rest = got[len(HEADER):]
            if rest.startswith(line("na")):
                return "refused"
            return "ACCEPTED" if rest.startswith(line(name)) else f"answered {shown(rest)}"

        await timed("security", name, propose)
    garbage = {
        "nothing": b"",
        "64 random bytes": secrets.token_bytes(64),
        "100 000 random bytes": secrets.token_bytes(100_000),
        "an HTTP request": b"GET /v1/nodes HTTP/1.1\r\nHost: orbit\r\n\r\n",
        "a TLS hello": bytes.fromhex("16030100c8010000c40303") + secrets.token_bytes(193),
        "a length of 2^63": HEADER + b"\xff" * 8 + b"\x7f",
        "Noise with a random handshake": HEADER + line("/noise") + b"\x00\x20" + secrets.token_bytes(32),
        "Noise with a longer one than it has": HEADER + line("/noise") + b"\xff\xff" + secrets.token_bytes(500),
    }
    attempts = {name: lambda data=data: raw_bytes(node, data, 20) for name, data in garbage.items()}
    await together("bytes on TCP", attempts, len(attempts))


# ---------------------------------------------------------------- protocols


async def protocols(node):
    attempts = {}
    for name in PROTOCOLS + ["/" + secrets.token_hex(8) for _ in range(10)]:

        async def propose(name=name):
            async with node.connection() as connection:
                return await negotiate(await connection.new_stream(), name)

        attempts[name if len(name) < 60 else f"{name[:20]}… ({len(name)} characters)"] = propose
    await together("protocol", attempts, 16)

    async def after_join():
        async with node.connection() as connection:
            await ask(connection, cbor2.dumps({"Hello": hello()}))
            return await negotiate(await connection.new_stream(), "/orbit/api/1")

    await timed("protocol", "/orbit/api/1 after a hello", after_join)


# ---------------------------------------------------------------- join messages


def hello(**changes):
    message = {
        "protocol": 1,
        "grid": None,
        "fence": {"epoch": 0, "term": 0},
        "certificate": b"",
        "anchors": [],
        "is_nucleus": False,
        "now_ms": int(time.time() * 1000),
    }
    return message | changes


def enrol(**changes):
    """An enrolment, once the key is known by which the connection is made."""

    def with_key(seed):
        message = {"token": secrets.token_bytes(6), "secret": bytes(32), "request": certificate_request(seed)}
        return cbor2.dumps({"Enrol": message | {"name": "outsider"} | changes})

    return with_key


def certificate_request(seed):
    """A request as a node makes it: for its own key, signed with it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(Ed25519PrivateKey.from_private_bytes(seed), None)
    return request.public_bytes(serialization.Encoding.DER)


def join_messages(seed, count):
    """Names and bytes of what is sent on the join protocol."""
    chance = random.Random(seed)
    whole = cbor2.dumps({"Hello": hello()})
    as_nucleus = hello(is_nucleus=True, fence={"epoch": 2**32 - 1, "term": 2**64 - 1})
    cases = {
        "a hello without certificate": whole,
        "nothing": b"",
        "one byte": b"\x00",
        "text instead of CBOR": b"let me in\n",
        "a hello cut in the middle": whole[: len(whole) // 2],
        "a hello and more bytes": whole + b"\x00",
        "two hellos": whole + whole,
        "a hello with an unknown field": cbor2.dumps({"Hello": hello(admin=True)}),
        "a hello with a field missing": cbor2.dumps({"Hello": {k: v for k, v in hello().items() if k != "fence"}}),
        "a hello with a field twice": double_field(),
        "a hello of version 99": cbor2.dumps({"Hello": hello(protocol=99)}),
        "a hello of version 2^64": cbor2.dumps({"Hello": hello(protocol=2**64 - 1)}),
        "a hello from the Nucleus of the last epoch": cbor2.dumps({"Hello": as_nucleus}),
        "a hello with a random certificate": cbor2.dumps({"Hello": hello(certificate=chance.randbytes(600))}),
        "a hello with 20 KB of certificate": cbor2.dumps({"Hello": hello(certificate=chance.randbytes(20_000))}),
        "a hello with 1000 anchors": cbor2.dumps({"Hello": hello(anchors=[b"\x30\x00"] * 1000)}),
        "a hello from the year 1677": cbor2.dumps({"Hello": hello(now_ms=-(2**63))}),
        "an unknown request": cbor2.dumps({"Shutdown": {}}),
        "a request of the control protocol": cbor2.dumps({"Renew": {"request": b""}}),
        "an enrolment with an unknown token": enrol(),
        "an enrolment without a secret": enrol(secret=b""),
        "an enrolment with a secret of 30 KB": enrol(secret=bytes(30_000)),
        "an enrolment for another's key": enrol(request=certificate_request(bytes(32))),
        "an enrolment with a random request": enrol(request=chance.randbytes(200)),
        "an enrolment under the name ../../etc": enrol(name="../../etc"),
        "an enrolment under a name of 30 KB": enrol(name="a" * 30_000),
        "a re-enrolment with random bytes": cbor2.dumps({"ReEnrol": {"request": chance.randbytes(300)}}),
        "lists in lists, 60 000 deep": b"\x81" * 60_000 + b"\x00",
        "maps in maps, 30 000 deep": b"\xa1\x60" * 30_000 + b"\x00",
        "lists without end": b"\x9f" * 60_000,
        "tags on tags": b"\xc1" * 60_000,
        "a byte string of 2^63": b"\x5b\x7f" + b"\xff" * 7,
        "a list of 2^32 entries": b"\x9a\xff\xff\xff\xff",
        "a map of 2^64 entries": b"\xbb" + b"\xff" * 8,
        "a hello with a certificate that claims 4 GB": whole.replace(b"certificate\x40", b"certificate\x5a\xff\xff\xff\xff"),
        "text that is not UTF-8": b"\xa1\x65Hell\xff\xa0",
        "60 000 zeros": bytes(60_000),
        "65 KiB and one byte": bytes((64 << 10) + 1),
        "1 MiB": bytes(1 << 20),
        "16 MiB": bytes(16 << 20),
    }
    for number in range(count):
        cases[f"random bytes {number}"] = chance.randbytes(chance.randrange(1, 2000))
    for number in range(count):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        cases[f"a damaged hello {number}"] = bytes(damaged)
    return cases


def double_field():
    inner = cbor2.dumps(hello())
    # One pair more than the header said: the same field again.
    return b"\xa1\x65Hello" + bytes([inner[0] + 1]) + inner[1:] + b"\x68protocol\x01"


async def ask(connection, message):
    """One question of the join protocol: the answer in a word."""
    if callable(message):
        message = message(connection.seed)
    stream = await connection.new_stream()
    if (said := await negotiate(stream, JOIN)) != "ACCEPTED":
        return said
    try:
        await stream.write(message)
        await stream.close_write()
    except Exception as error:
        return f"stopped while it was sent ({type(error).__name__})"
    answer, how = await read_all(stream)
    return understood(answer) if answer else how


def understood(answer):
    try:
        answer = cbor2.loads(answer)
    except Exception:
        return f"bytes: {shown(answer)}"
    if isinstance(answer, dict) and "Hello" in answer:
        fields = answer["Hello"]
        certificate = len(fields["certificate"])
        return f"hello: grid, a certificate of {certificate} bytes, {len(fields['anchors'])} authorities, a clock"
    if isinstance(answer, dict) and "Refused" in answer:
        why = answer["Refused"]
        return "refused: " + (why if isinstance(why, str) else next(iter(why)))
    return f"answered {shown(repr(answer).encode())}"


async def joining(node, options):
    attempts = {}
    for name, message in join_messages(options.seed, options.random).items():

        async def send(message=message):
            async with node.connection() as connection:
                return await ask(connection, message)

        attempts[name] = send
    await together("join", attempts, 8)

    async def guess():
        got = {}
        while sum(got.values()) < options.guesses:
            # A stranger may send only so much on one connection.
            async with node.connection() as connection:
                for _ in range(100):
                    answer = await ask(connection, enrol())
                    got[answer] = got.get(answer, 0) + 1
        return ", ".join(f"{count} × {answer}" for answer, count in got.items())

    await timed("join", f"{options.guesses} guesses of a token", guess, 60)

    async def slow():
        async with node.connection() as connection:
            stream = await connection.new_stream()
            await negotiate(stream, JOIN)
            begun = time.monotonic()
            try:
                for byte in cbor2.dumps({"Hello": hello()}):
                    await stream.write(bytes([byte]))
                    with trio.move_on_after(1):
                        answer, how = await read_all(stream)
                        return f"{how} after {time.monotonic() - begun:.0f} s"
            except Exception:
                pass
            return f"cut off after {time.monotonic() - begun:.0f} s"

    await timed("join", "a hello at one byte a second", slow, 90)


# ---------------------------------------------------------------- many of everything


async def crowd(node, options):
    async def idle():
        async with node.connection() as connection:
            begun = time.monotonic()
            while not connection.is_closed and time.monotonic() - begun < 60:
                await trio.sleep(0.25)
            return f"{'closed' if connection.is_closed else 'STILL OPEN'} after {time.monotonic() - begun:.0f} s"

    async def half_open():
        async with node.connection() as connection:
            opened = 0
            try:
                for _ in range(options.streams):
                    with trio.fail_after(3):
                        stream = await connection.new_stream()
                        await stream.write(HEADER)
                    opened += 1
            except BaseException as error:
                if isinstance(error, trio.Cancelled):
                    raise
                return f"{opened} opened, then {type(error).__name__}"
            await trio.sleep(0.5)
            closed = ", then the connection was closed" if connection.is_closed else ""
            return f"{opened} opened{closed}"

    async def oversized():
        sent = connections = 0
        frame = bytes(80 << 10)

        async def flood():
            nonlocal sent, connections
            while sent < options.frames:
                try:
                    async with node.connection() as connection:
                        connections += 1
                        for _ in range(4):
                            sent += 1
                            answer = await ask(connection, frame)
                            if "stopped" in answer or "reset" in answer:
                                break
                except Exception:
                    pass

        with trio.move_on_after(options.seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(16):
                    nursery.start_soon(flood)
        return f"{sent} sent on {connections} connections"

    async def slow_sockets():
        opened, closed, refused, begun = [], 0, 0, time.monotonic()

        async def one():
            nonlocal refused
            try:
                with trio.fail_after(20):
                    stream = await node.socket()
                    await stream.send_all(HEADER[:5])
                opened.append(stream)
            except Exception:
                refused += 1

        for first in range(0, options.slow, 200):
            async with trio.open_nursery() as nursery:
                for _ in range(first, min(first + 200, options.slow)):
                    nursery.start_soon(one)
        took = time.monotonic() - begun
        with trio.move_on_after(25):
            for stream in list(opened):
                try:
                    while await stream.receive_some(100):
                        pass
                except trio.BrokenResourceError:
                    pass
                closed += 1
        ended = time.monotonic() - begun
        for stream in opened:
            await trio.aclose_forcefully(stream)
        return (
            f"{len(opened)} connected in {took:.1f} s, {refused} refused; "
            f"{closed} closed by the node after {ended:.0f} s"
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timed, "crowd", "a connection that says nothing", idle, 70)
        await timed("crowd", f"{options.streams} streams that negotiate nothing, on one connection", half_open, 60)
        await timed("crowd", f"{options.frames} oversized messages", oversized, options.seconds + 20)
        await timed("crowd", f"{options.slow} connections that stop in the first line", slow_sockets, 120)


# ---------------------------------------------------------------- report


def report():
    width = max(len(result.tried) for result in RESULTS)
    part = None
    for result in RESULTS:
        if result.part != part:
            part = result.part
            print(f"\n{part}")
        print(f"  {result.tried:<{min(width, 62)}}  {result.got}  ({result.seconds:.1f} s)")


async def main(options):
    node = Node(options.address)
    parts = {
        "security": lambda: security(node),
        "protocol": lambda: protocols(node),
        "join": lambda: joining(node, options),
        "crowd": lambda: crowd(node, options),
    }
    for name, work in parts.items():
        if name in options.parts.split(","):
            print(f"trying: {name}", file=sys.stderr, flush=True)
            await work()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="a multiaddress with the peer id: /ip4/…/tcp/…/p2p/…")
    parser.add_argument("--parts", default="security,protocol,join,crowd", help="what to try (default: %(default)s)")
    parser.add_argument("--random", type=int, default=40, help="random messages of each kind (default: %(default)s)")
    parser.add_argument("--guesses", type=int, default=2000, help="guesses of a token (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=500, help="half-open streams (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=300, help="oversized messages (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=1000, help="slow connections (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="for the oversized messages (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random messages (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    OPTIONS = arguments()
    trio.run(main, OPTIONS)
    report()
    if OPTIONS.json:
        with open(OPTIONS.json, "w") as file:
            json.dump([asdict(result) for result in RESULTS], file, indent=1)
