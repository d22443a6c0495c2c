"""What a client meets first: ApiVersions, versions that are not there, bytes that are nothing."""

import socket
import struct

from foreign.harness import check, equal, name_of
from foreign.wire import ApiVersionsRequest, Connection, MetadataRequest, ask, error, is_error, request

SERVED = {
    0: (3, 13), 1: (4, 17), 2: (1, 10), 3: (0, 13), 8: (2, 9), 9: (1, 9), 10: (0, 5), 11: (2, 9), 12: (0, 4), 13: (0, 5), 14: (0, 5), 15: (0, 6),
    16: (0, 5), 18: (0, 4), 19: (2, 7), 20: (1, 6), 21: (0, 2), 22: (0, 5), 23: (2, 4), 24: (0, 5), 25: (0, 4), 26: (0, 5), 28: (0, 5), 32: (1, 4),
    37: (0, 3), 42: (0, 2), 44: (0, 1), 47: (0, 0), 60: (0, 2), 68: (0, 1), 69: (0, 1),
}  # what both clusters have of the APIs that clients use: fewer would be a loss, more is fine


@check
def api_versions_in_every_version_lists_what_is_served():
    for version in range(0, 5):
        answer = ask(ApiVersionsRequest, version, client_software_name="foreign", client_software_version="1.0")
        is_error(answer.error_code, "NONE")
        got = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}
        for key, (low, high) in SERVED.items():
            have = got.get(key)
            assert have and have[0] <= low and have[1] >= high, f"v{version}: api {key} is {have}, not {low}-{high}"


@check
def api_versions_names_the_features_that_are_finalized():
    answer = ask(ApiVersionsRequest, 4, client_software_name="foreign", client_software_version="1.0")
    features = {one.name: one.max_version_level for one in answer.finalized_features}
    equal((features.get("transaction.version"), features.get("group.version")), (2, 1))
    assert answer.finalized_features_epoch >= 0
    supported = {one.name for one in answer.supported_features}
    assert {"transaction.version", "group.version"} <= supported, supported


@check
def an_api_versions_that_is_too_new_is_answered_in_version_0():
    with Connection() as connection:
        header = struct.pack(">hhih", 18, 99, 7, 7) + b"foreign" + b"\0"
        body = b"\x08foreign\x041.0\0"
        connection.socket.sendall(struct.pack(">i", len(header + body)) + header + body)
        size, correlation, code = struct.unpack(">iih", connection.socket.recv(10, socket.MSG_WAITALL))
        equal((correlation, error(code)), (7, "UNSUPPORTED_VERSION"))
        rest = b""
        while len(rest) < size - 6:
            rest += connection.socket.recv(size)
        count, key, low, high = struct.unpack(">ihhh", rest[:10])
        equal((count, key, low), (1, 18, 0))
        assert high >= 4
        is_error(connection.ask(ApiVersionsRequest, 0).error_code, "NONE", "and the connection goes on")


@check
def a_client_whose_name_is_nonsense_is_refused():
    for name, software in [("not a name!", "1.0"), ("name", "")]:
        with Connection() as connection:
            connection.protocol.send_request(request(ApiVersionsRequest, 3, client_software_name=name, client_software_version=software))
            connection.socket.sendall(connection.protocol.send_bytes())
            _, _, code = struct.unpack(">iih", connection.socket.recv(10, socket.MSG_WAITALL))
            is_error(code, "INVALID_REQUEST", f"{name} {software}")


@check
def a_version_that_is_not_there_ends_the_connection():
    for key, version in [(3, 99), (0, 2), (1, 99)]:
        with Connection() as connection:
            frame = struct.pack(">hhih", key, version, 1, -1) + b"\0" * 8
            connection.socket.sendall(struct.pack(">i", len(frame)) + frame)
            assert connection.is_closed_by_broker(), f"api {key} v{version}"


@check
def bytes_that_are_no_request_end_the_connection():
    for what in [struct.pack(">i", -1), struct.pack(">i", 2**31 - 1), struct.pack(">i", 3) + b"abc", b"GET / HTTP/1.1\r\n\r\n", struct.pack(">ihhi", 8, 3, 12, 1)]:
        with Connection() as connection:
            connection.socket.sendall(what)
            assert connection.is_closed_by_broker(), what
    ask(MetadataRequest, 12, topics=[], allow_auto_topic_creation=False)


@check
def a_request_in_pieces_is_read_as_a_whole():
    with Connection() as connection:
        connection.protocol.send_request(request(MetadataRequest, 12, topics=[{"name": name_of("none")}], allow_auto_topic_creation=False))
        for byte in connection.protocol.send_bytes():
            connection.socket.sendall(bytes([byte]))
        is_error(connection.receive().topics[0].error_code, "UNKNOWN_TOPIC_OR_PARTITION")
