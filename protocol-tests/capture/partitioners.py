"""Usage: partitioners.py > ../vectors/partitioners-librdkafka.txt: where librdkafka's own functions, called in its shared
library, put 10,000 keys. The rule of the keys is that of ../tests/cluster/partitioners.rs."""
import ctypes
import glob
import os
import confluent_kafka as ck

KEYS = 10_000
COUNTS = [1, 3, 12, 100, 1000, 2**31 - 1]


def key(i):
    state, out = i, bytearray()
    for _ in range(i % 41):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    return bytes(out)


site = os.path.dirname(os.path.dirname(ck.__file__))
[path] = glob.glob(f"{site}/confluent_kafka.libs/librdkafka*")
library = ctypes.CDLL(path)
print(f"# Made by protocol-tests/capture/partitioners.py: rd_kafka_msg_partitioner_* of librdkafka {ck.libversion()[0]}")
print("# partitioner, partitions, partition of the null key, hash of all 10,000, the first dozen")
for name in ["consistent", "murmur2", "fnv1a"]:
    function = library[f"rd_kafka_msg_partitioner_{name}"]
    function.restype = ctypes.c_int32
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
    for count in COUNTS:
        places = [function(None, key(i), len(key(i)), count, None, None) for i in range(KEYS)]
        digest = 0
        for place in places:
            digest = (digest * 31 + place) % 2**64
        null = function(None, None, 0, count, None, None)
        print(name, count, null, f"{digest:016x}", *places[:12])
