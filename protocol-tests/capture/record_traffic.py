"""Stands between clients and a broker and writes what passes as seeds for `fuzz/`: streams of request frames for the target
broker_request, and each answer behind its API's number and version for the target response.

    record_traffic.py LISTEN-PORT BROKER-PORT DIRECTORY

The broker has to advertise LISTEN-PORT (`KFM_PROPS="advertised.listeners=PLAINTEXT://127.0.0.1:PORT" kafka start ...`). Of each
API, version and direction the first few different frames are kept; `fuzz/minimise` leaves of them what covers something.
"""

import asyncio
import hashlib
import pathlib
import struct
import sys

LISTEN, BROKER, DIRECTORY = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
EACH = 12  # frames of an API, version and direction
LONGEST = 4096  # bytes of a frame
STREAM = 12288  # bytes of a connection
RESPONSE = 0x80  # set in the version of an answer

kept = {}


def keep(target, name, data):
    folder = DIRECTORY / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{hashlib.sha1(data).hexdigest()[:8]}").write_bytes(data)


def keep_message(key, version, is_response, frame):
    seen = kept.setdefault((key, version, is_response), set())
    digest = hashlib.sha1(frame[8:]).digest()
    if len(frame) > LONGEST or len(seen) >= EACH or digest in seen:
        return
    seen.add(digest)
    keep("response", f"api-{key}-v{version}", bytes([key, version | (RESPONSE if is_response else 0)]) + frame)


async def frames(reader):
    while True:
        head = await reader.readexactly(4)
        yield head, await reader.readexactly(struct.unpack(">i", head)[0])


async def converse(client, to_client):
    broker, to_broker = await asyncio.open_connection("127.0.0.1", BROKER)
    asked, stream = {}, bytearray()

    async def requests():
        async for head, frame in frames(client):
            key, version, correlation = struct.unpack(">hhi", frame[:8])
            asked[correlation] = (key, version)
            keep_message(key, version, False, frame)
            if len(stream) + len(frame) < STREAM:
                stream.extend(head + frame)
            to_broker.write(head + frame)

    async def answers():
        async for head, frame in frames(broker):
            (correlation,) = struct.unpack(">i", frame[:4])
            if correlation in asked:
                keep_message(*asked.pop(correlation), True, frame)
            to_client.write(head + frame)

    tasks = [asyncio.create_task(requests()), asyncio.create_task(answers())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    to_client.close()
    to_broker.close()
    if stream:
        keep("broker_request", "connection", bytes(stream))


async def main():
    server = await asyncio.start_server(converse, "127.0.0.1", LISTEN)
    await server.serve_forever()


asyncio.run(main())
