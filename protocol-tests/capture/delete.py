"""Usage: delete.py BOOTSTRAP PREFIX: deletes the topics with this prefix, and waits until they are gone."""
import sys, time
from confluent_kafka.admin import AdminClient

admin = AdminClient({"bootstrap.servers": sys.argv[1]})
mine = lambda: [t for t in admin.list_topics(timeout=10).topics if t.startswith(sys.argv[2])]
if mine():
    [f.result(20) for f in admin.delete_topics(mine()).values()]
while mine():
    time.sleep(0.3)
