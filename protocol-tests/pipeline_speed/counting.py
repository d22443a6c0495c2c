"""What both Python aggregators do with an event: money and views per minute, in dicts. The minute is the first 16 characters
of a timestamp in UTC, which is less than parsing it; money is a float, as it was."""

import json
from collections import defaultdict


class Minutes:
    def __init__(self):
        self.seen = 0
        self.gmv = defaultdict(float)
        self.views = defaultdict(lambda: defaultdict(int))

    def add(self, value):
        event = json.loads(value)
        minute = event["timestamp"][:16]
        if event["event_type"] == "purchase" and event["price"] is not None:
            self.gmv[minute] += event["price"]
        elif event["event_type"] == "view":
            self.views[minute][event["product_id"]] += 1
        self.seen += 1

    def report(self):
        print(json.dumps({
            "read": self.seen,
            "gmv_cents": round(sum(self.gmv.values()) * 100),
            "views": sum(sum(products.values()) for products in self.views.values()),
        }))
