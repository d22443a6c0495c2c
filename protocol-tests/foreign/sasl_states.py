"""SASL request by request: what a broker answers in which state, and in what words. Seen on Kafka 4.3.1."""

import base64
import hashlib
import hmac
import socket
import struct

from foreign.harness import check, equal
from foreign.secured import PASSWORD, USER, place

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
END = "the connection ends"
GOOD = f"\0{USER}\0{PASSWORD}"
INVALID = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"


class Raw:
    """One connection."""

    def __init__(self, there):
        host, port = there.bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.sent = 0

    def frame(self, content):
        """Sends a frame, and gives the one that comes back."""
        self.socket.sendall(struct.pack(">i", len(content)) + content)
        try:
            return self.take(struct.unpack(">i", self.take(4))[0])
        except (EOFError, ConnectionError):
            return END

    def take(self, count):
        found = b""
        while len(found) < count:
            more = self.socket.recv(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found

    def request(self, key, version, body):
        self.sent += 1
        answer = self.frame(struct.pack(">hhih", key, version, self.sent, -1) + body)
        return answer if answer is END else answer[4:]

    def versions(self):
        answer = self.request(18, 0, b"")
        return answer if answer is END else struct.unpack(">h", answer[:2])[0]

    def metadata(self):
        """The length of what is answered."""
        answer = self.request(3, 1, struct.pack(">i", 0))
        return answer if answer is END else len(answer)

    def handshake(self, mechanism, version=1):
        answer = self.request(17, version, struct.pack(">h", len(mechanism)) + mechanism.encode())
        if answer is END:
            return END
        code, count = struct.unpack(">hi", answer[:6])
        names, at = [], 6
        for _ in range(count):
            length = struct.unpack(">h", answer[at : at + 2])[0]
            names.append(answer[at + 2 : at + 2 + length].decode())
            at += 2 + length
        return code, sorted(names)

    def token(self, token, version=1):
        token = token if isinstance(token, bytes) else token.encode()
        answer = self.request(36, version, struct.pack(">i", len(token)) + token)
        if answer is END:
            return END
        code, length = struct.unpack(">hh", answer[:4])
        message, at = answer[4 : 4 + length].decode(), 4 + length
        length = struct.unpack(">i", answer[at : at + 4])[0]
        return code, message, answer[at + 4 : at + 4 + length]

    def scram(self, user=USER, password=PASSWORD, header="n,,", extension="", nonce="", last=""):
        """A whole SCRAM-SHA-256, bent in some way: 0, or what was refused and how."""
        first = f"n={user},r=abc{extension}"
        answered = self.token(header + first)
        if answered is END or answered[0]:
            return "first", answered
        challenge = answered[2].decode()
        given = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(given["s"]), int(given["i"]))
        proved = f"c={base64.b64encode(header.encode()).decode()},r={nonce}{given['r']}{last}"
        message = f"{first},{challenge},{proved}".encode()
        mac = lambda key, text: hmac.new(key, text, "sha256").digest()
        key = mac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), message)))
        answered = self.token(f"{proved},p={base64.b64encode(proof).decode()}")
        if answered is END or answered[0]:
            return "last", answered
        equal(answered[2], b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), message)), "the server's signature")
        return 0


def plain(raw):
    return raw.handshake("PLAIN")


OUT_OF_PLACE = 34, "SaslAuthenticate request received after successful authentication", b""
# Each a connection: what is asked after one another, and what comes of the last.
STATES = [
    ([Raw.metadata], END),
    ([Raw.versions, Raw.versions], END),
    ([Raw.versions, Raw.metadata], END),
    ([lambda raw: raw.token(GOOD)], END),
    ([plain, plain], (34, [])),
    ([plain, Raw.versions], 34),
    ([plain, Raw.versions, Raw.versions], END),
    ([plain, Raw.metadata, Raw.metadata], END),
    ([lambda raw: raw.handshake("NOPE")], (33, MECHANISMS)),
    ([lambda raw: raw.handshake("NOPE"), plain], END),
    ([lambda raw: raw.handshake("PLAIN", 2)], END),
    ([plain, lambda raw: raw.token(GOOD, 9)], END),
    ([plain, lambda raw: raw.token(GOOD, 0)], (0, "", b"")),
    ([plain, lambda raw: raw.token(GOOD), lambda raw: raw.token(GOOD)], OUT_OF_PLACE),
    ([plain, lambda raw: raw.token(GOOD), plain], (34, [])),
    ([plain, lambda raw: raw.token(GOOD), plain, Raw.versions], 0),
    ([lambda raw: raw.handshake("PLAIN", 0), lambda raw: raw.frame(GOOD.encode()), Raw.versions], 0),
    ([lambda raw: raw.handshake("PLAIN", 0), lambda raw: raw.frame(b"\0a\0b")], END),
    ([lambda raw: raw.handshake("PLAIN", 0), Raw.versions], END),
]
TOKENS = {
    GOOD: (0, ""),
    USER + GOOD: (0, ""),
    "bob" + GOOD: (58, "Authentication failed: Client requested an authorization id that is different from username"),
    f"\0{USER}\0x": (58, "Authentication failed: Invalid username or password"),
    f"\0carol\0{PASSWORD}": (58, "Authentication failed: Invalid username or password"),
    f"\0{USER}\0": (58, "Authentication failed: password not specified"),
    "\0\0x": (58, "Authentication failed: username not specified"),
    "": (58, "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
    GOOD + "\0": (58, "Invalid SASL/PLAIN response: expected 3 tokens, got 4"),
}
REFUSED = 58, INVALID, b""
SCRAMS = [
    ({}, 0),
    ({"password": "x"}, ("last", REFUSED)),
    ({"user": "carol"}, ("first", REFUSED)),
    ({"user": "älice"}, ("first", REFUSED)),
    ({"extension": ",a=b,tokenauth=no"}, 0),
    ({"extension": ",1=b"}, ("first", REFUSED)),
    ({"extension": ",tokenauth=true"}, ("first", REFUSED)),
    ({"header": "y,,"}, ("first", REFUSED)),
    ({"header": f"n,a={USER},"}, 0),
    ({"nonce": "abc"}, ("last", REFUSED)),
    ({"last": ",x=y"}, ("last", REFUSED)),
]


def at_a_listener():
    return place("SASL_PLAINTEXT", "PLAIN", ",".join(MECHANISMS))


@check
def every_state_of_sasl_has_its_answer():
    with at_a_listener() as there:
        for number, (steps, expected) in enumerate(STATES):
            raw = Raw(there)
            equal([step(raw) for step in steps][-1], expected, f"sequence {number}")


@check
def plain_is_taken_or_refused_in_the_same_words():
    with at_a_listener() as there:
        for token, expected in TOKENS.items():
            raw = Raw(there)
            plain(raw)
            equal(raw.token(token), (*expected, b""), repr(token))
            equal(raw.versions(), END if expected[0] else 0, repr(token))


@check
def scram_is_taken_or_refused_however_it_is_bent():
    with at_a_listener() as there:
        for bent, expected in SCRAMS:
            raw = Raw(there)
            raw.handshake("SCRAM-SHA-256")
            equal(raw.scram(**bent), expected, repr(bent))
