"""Runs a file of Flink SQL in this process, on Flink's mini cluster, and waits for its INSERT: for trials, without a cluster.

usage: run.py FILE.sql CONNECTOR.jar [KEY=VALUE ...]

Needs apache-flink from PyPI. KEY=VALUE are settings of Flink on top of the file's, such as parallelism.default=2.
"""

import re
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def statements(text):
    """Without the comments; each ends with a semicolon at the end of a line, as `milena aggregate --flink-sql` prints them."""
    text = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    return [statement.strip() for statement in re.split(r";[ \t]*(?:\n|$)", text) if statement.strip()]


def run(text, jar, settings=()):
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.get_config().set("pipeline.jars", f"file://{jar}")
    for key, value in settings:
        tables.get_config().set(key, value)
    for statement in statements(text):
        setting = re.fullmatch(r"SET\s+'([^']*)'\s*=\s*'((?:[^']|'')*)'", statement)
        if setting:
            tables.get_config().set(setting[1], setting[2].replace("''", "'"))
            continue
        result = tables.execute_sql(statement)
        if statement.upper().startswith("INSERT"):
            result.wait()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        run(file.read(), sys.argv[2], [argument.split("=", 1) for argument in sys.argv[3:]])
