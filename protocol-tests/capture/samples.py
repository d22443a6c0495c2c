"""The records of the vectors. The same in Samples.java and in tests/record/samples.rs."""

T = 1_700_000_000_000  # of the first record, in milliseconds; each next one is 10 later


def noise(n):
    x, out = 12345, bytearray()
    for _ in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        out.append((x >> 16) & 0xFF)
    return bytes(out)


def odd():
    """(key, value, headers): everything that may be null, empty, double or long."""
    return [
        (b"key-0", b"value-0", []),
        (None, b"no key", []),
        (b"", b"", []),
        (b"tombstone", None, []),
        (b"headers", b"h", [("dup", b"1"), ("dup", b"2"), ("null", None), ("empty", b""), ("\u00fcn\u00efcode \u2713", b"\xff\x00")]),
        (b"long", b"abcdefghij" * 300, []),
        (b"noise", noise(200), []),
    ]


def many():
    """Enough for several blocks of every codec: about 170 kB before compression."""
    return [(b"visitor-%d" % (i % 7), b'{"page":"/p/%d","n":%d,"agent":"Mozilla/5.0 (X11; Linux x86_64)"}' % (i % 13, i), [])
            for i in range(2000)]
