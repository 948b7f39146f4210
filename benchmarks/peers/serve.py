"""Answers requests that come as JSON lines on stdin with JSON lines on stdout, until stdin ends.

Not a peer itself: `need` imports what a peer needs and says what is missing, `serve` runs the loop.
"""

import importlib
import json
import platform
import sys
import time


def say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def need(**packages):
    """Imports modules, given as module="package to install"; ends the script where one is missing."""
    found = []
    versions = serve.versions
    for module, package in packages.items():
        try:
            found.append(importlib.import_module(module))
        except ImportError:
            say({"missing": package})
            sys.exit(0)
        version = getattr(found[-1], "__version__", None)
        if version and package + " " + version not in versions:
            versions.append(package + " " + version)
    return found


def serve(**handlers):
    """Runs until stdin ends. A request names its handler in "do"; the rest are the handler's arguments."""
    say({"ready": True, "versions": ", ".join(serve.versions)})
    for line in sys.stdin:
        request = json.loads(line)
        before = time.process_time()
        try:
            answer = handlers[request.pop("do")](**request)
            # Processes of a pool are added by their handler.
            answer["cpu"] = answer.get("cpu", 0) + time.process_time() - before
            say(answer)
        except Exception as error:
            say({"error": type(error).__name__ + ": " + str(error)})


serve.versions = ["Python " + platform.python_version()]
