"""Fetches what a broker stored, as bytes, over a plain socket: Fetch version 11, one partition, read_uncommitted."""
import socket, struct, time


def string(s):
    return struct.pack(">h", len(s)) + s.encode()


class Broker:
    def __init__(self, bootstrap):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 20)

    def ask(self, api, version, body):
        header = struct.pack(">hhi", api, version, 7) + string("capture")
        self.socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        answer = self.exactly(struct.unpack(">i", self.exactly(4))[0])
        assert struct.unpack_from(">i", answer)[0] == 7
        return answer[4:]

    def exactly(self, n):
        out = b""
        while len(out) < n:
            part = self.socket.recv(n - len(out))
            assert part, "closed"
            out += part
        return out

    def fetch(self, topic, offset=0, partition=0):
        body = struct.pack(">iiiibii", -1, 500, 1, 16 << 20, 0, 0, -1)
        body += struct.pack(">i", 1) + string(topic)
        body += struct.pack(">iiiqqi", 1, partition, -1, offset, -1, 16 << 20)
        body += struct.pack(">i", 0) + string("")
        answer = self.ask(1, 11, body)
        _, error, _, topics = struct.unpack_from(">ihii", answer)
        assert error == 0 and topics == 1, (topic, error)
        at = 14 + 2 + struct.unpack_from(">h", answer, 14)[0] + 4
        _, error, high, _, _, aborted = struct.unpack_from(">ihqqqi", answer, at)
        assert error == 0, (topic, error)
        at += 34 + 16 * max(aborted, 0) + 4
        length = struct.unpack_from(">i", answer, at)[0]
        return answer[at + 4:at + 4 + length], high

    def fetch_all(self, topic):
        """All whole batches up to the log's end: one answer ends with a segment."""
        records, offset = b"", 0
        while True:
            part, high = self.fetch(topic, offset)
            at = 0
            while at + 61 <= len(part) and at + 12 + struct.unpack_from(">i", part, at + 8)[0] <= len(part):
                offset = struct.unpack_from(">q", part, at)[0] + struct.unpack_from(">i", part, at + 23)[0] + 1
                at += 12 + struct.unpack_from(">i", part, at + 8)[0]
            records += part[:at]
            if at == 0 or offset >= high:
                return records, high

    def produce(self, topic, records, partition=0):
        body = struct.pack(">hhii", -1, -1, 20000, 1) + string(topic) + struct.pack(">iii", 1, partition, len(records)) + records
        until = time.time() + 10
        while True:
            answer = self.ask(0, 7, body)
            at = 4 + 2 + struct.unpack_from(">h", answer, 4)[0] + 4
            _, error, base = struct.unpack_from(">ihq", answer, at)
            if error in (3, 6) and time.time() < until:  # a topic this new: its leader has yet to hear of it
                time.sleep(0.1)
                continue
            assert error == 0, (topic, error)
            return base
