"""`gain up` with real PostgreSQL and Valkey but stand-ins for our own parts: `small_system.py DATA_DIR PORT [deaf]`.

With `deaf` there is also a part that does not hear SIGTERM. Stand-ins let a test crash and stop parts without waiting
for the whole broker; test_up.py runs the real ones.
"""

import sys
from pathlib import Path

from app.runtime.plan import child_environment
from app.runtime.refusal import StartRefused
from app.runtime.supervisor import say
from app.runtime.up import Command, Plan, up

GATEWAY = """
import http.server, os, socket
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["GAIN_DATABASE_URL"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["GAIN_LISTEN_FD"]))
server.server_activate()
server.serve_forever()
"""
WORKER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def main() -> None:
    first = (Command("migrate", python("print('done')")),)
    parts = (
        Command("gateway", python(GATEWAY), serves=True),
        Command("worker", python(WORKER)),
        *(Command(name, python(DEAF)) for name in sys.argv[3:]),
    )
    plan = Plan(first, parts, child_environment())
    try:
        up(
            Path(sys.argv[1]),
            "127.0.0.1",
            int(sys.argv[2]),
            plan,
            say=say,
            ready=lambda url: print(f"ready {url}", flush=True),
        )
    except StartRefused as refusal:
        say(str(refusal))
        sys.exit(1)


if __name__ == "__main__":
    main()
