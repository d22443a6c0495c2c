"""What registries answer: `exchange.py record REGISTRY` asks one and writes exchange.jsonl, `exchange.py check REGISTRY` asks another the
same and compares status, error_code and what a client reads of the rest.

exchange.jsonl is of Apicurio Registry 3.0.9's Confluent API; a registry has to be empty for either."""

import json, sys, urllib.error, urllib.request
from pathlib import Path

FILE = Path(__file__).parent / "exchange.jsonl"
CLICK = {"type": "record", "name": "Click", "fields": [{"name": "a", "type": "string"}]}
WIDER = {**CLICK, "fields": [*CLICK["fields"], {"name": "b", "type": "int", "default": 7}]}
BROKEN = {**CLICK, "fields": [*CLICK["fields"], {"name": "b", "type": "int"}]}
USES = {"type": "record", "name": "Uses", "fields": [{"name": "click", "type": "Click"}]}


def avro(schema, **more):
    return {"schema": json.dumps(schema), **more}


PROTO = 'syntax = "proto3";\npackage shop;\n\nmessage Click {\n  string a = 1;\n}\n'
REFERENCE = [{"name": "Click", "subject": "c-value", "version": 1}]
ASKED = [
    ("GET", "/subjects", None),
    ("PUT", "/config", {"compatibility": "BACKWARD"}),
    ("GET", "/subjects/c-value/versions", None),
    ("GET", "/subjects/c-value/versions/latest", None),
    ("POST", "/subjects/c-value", avro(CLICK)),
    ("POST", "/subjects/c-value/versions", avro(CLICK)),
    ("POST", "/subjects/c-value/versions", avro(CLICK)),
    ("POST", "/subjects/d-value/versions", avro(CLICK)),
    ("GET", "/subjects", None),
    ("GET", "/schemas/ids/1", None),
    ("GET", "/schemas/ids/4711", None),
    ("POST", "/compatibility/subjects/c-value/versions/latest", avro(WIDER)),
    ("POST", "/compatibility/subjects/c-value/versions/latest", avro(BROKEN)),
    ("POST", "/subjects/c-value/versions", avro(BROKEN)),
    ("POST", "/subjects/c-value", avro(WIDER)),
    ("POST", "/subjects/c-value/versions", avro(WIDER)),
    ("POST", "/subjects/c-value", avro(WIDER)),
    ("GET", "/subjects/c-value/versions", None),
    ("GET", "/subjects/c-value/versions/latest", None),
    ("GET", "/subjects/c-value/versions/1", None),
    ("GET", "/subjects/c-value/versions/9", None),
    ("POST", "/subjects/bad/versions", {"schema": "{"}),
    ("POST", "/subjects/uses-value/versions", avro(USES, references=REFERENCE)),
    ("GET", "/subjects/uses-value/versions/1", None),
    ("POST", "/subjects/p-value/versions", {"schema": PROTO, "schemaType": "PROTOBUF"}),
    ("GET", "/subjects/p-value/versions/latest", None),
    ("DELETE", "/subjects/d-value?permanent=true", None),
    ("DELETE", "/subjects/d-value", None),
    ("GET", "/subjects/d-value/versions", None),
    ("DELETE", "/subjects/d-value?permanent=true", None),
    ("GET", "/subjects", None),
]


def ask(url, method, path, body):
    headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.rstrip("/") + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def read(answer, ids):
    """What a client reads of it: the texts of schemas as what they mean, and no words."""
    if isinstance(answer, list):
        return sorted(answer, key=str)
    if not isinstance(answer, dict):
        return answer
    known = ("error_code", "id", "version", "subject", "is_compatible", "references", "schema")
    found = {key: value for key, value in answer.items() if key in known and value not in ([], None)}
    if "id" in found:
        found["id"] = ids[found["id"]]
    if answer.get("schemaType", "AVRO") != "AVRO":
        found["schemaType"] = answer["schemaType"]
    elif "schema" in found:
        found["schema"] = json.loads(found["schema"])
    return found


class Ids(dict):
    """A registry's own numbers, by which comes first: that of a schema that was refused may be lost."""

    def __missing__(self, number):
        self[number] = len(self) + 1
        return self[number]


def is_same(recorded, answered):
    """Of a no the code counts: Apicurio has another status than Confluent's documentation for 40405."""
    (status, answer, ids), (got, said, our_ids) = recorded, answered
    if "error_code" in answer:
        return isinstance(said, dict) and said.get("error_code") == answer["error_code"] and got in (status, said["error_code"] // 100)
    answer, said = read(answer, ids), read(said, our_ids)
    if isinstance(answer, dict) and set(answer) == {"id"}:  # registered: some tell the id alone, some the whole of it
        said = {"id": said.get("id")}
    return (status, answer) == (got, said)


def main(what, url):
    if what == "record":
        lines = [json.dumps([method, path, body, *ask(url, method, path, body)]) for method, path, body in ASKED]
        FILE.write_text("\n".join(lines) + "\n")
        return
    wrong, ids, our_ids = 0, Ids(), Ids()
    for line in FILE.read_text().splitlines():
        method, path, body, status, answer = json.loads(line)
        got, said = ask(url, method, path.replace("/ids/1", f"/ids/{next((id for id, n in our_ids.items() if n == 1), 1)}"), body)
        if not is_same((status, answer, ids), (got, said, our_ids)):
            wrong += 1
            print(f"{method} {path} {body}\n  recorded {status} {answer}\n  answered {got} {said}", file=sys.stderr)
    if wrong:
        sys.exit(f"{wrong} answers are other than those recorded")
    print(f"{len(ASKED)} answers are those of Apicurio Registry")


if __name__ == "__main__":
    main(*sys.argv[1:])
