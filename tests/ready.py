"""A Python that has its libraries loaded and waits: each command is a fork of it, so many commands import torch once.

What runs is the program as installed, in a process, folder, environment and streams of its own. Third-party libraries
and what nearly every command needs of `recast` are loaded beforehand; its verbs and the weights are read by each anew.

    with ready.programs() as folder:  # holds `recast` and `python`, to stand first on the PATH
        subprocess.run(["recast", "info", "nano"], env={"PATH": f"{folder}:{os.environ['PATH']}"})
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import recast.nano as embedded

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    told = {{"argv": [{name!r}, *sys.argv[1:]], "folder": os.getcwd(), "environment": dict(os.environ)}}
    words = json.dumps(told).encode()
    sent = socket.send_fds(server, [words], [0, 1, 2])
    server.sendall(words[sent:])
    server.shutdown(socket.SHUT_WR)
    code = server.recv(1)
if not code:
    sys.exit("the process that ran " + {name!r} + " ended without a word")
sys.exit(code[0])
"""


@contextmanager
def programs(nano: Path = embedded.NANO) -> Iterator[Path]:
    """A folder with `recast` and `python -c`, which work until the context is left. nano: where its files lie."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(place)
        listener.bind(str(folder / "server"))
        listener.listen()
        for name in ("recast", "python"):
            text = CLIENT.format(python=sys.executable, place=str(folder / "server"), name=name)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        command = [sys.executable, "-P", __file__, str(listener.fileno()), str(nano)]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
        listener.close()
        try:
            yield folder
        finally:
            server.kill()
            server.wait()


def serve(listener: socket.socket, nano: Path) -> int:
    """The exit code of the command that this process, a fork by then, was asked for; the server itself never ends."""
    embedded.NANO = nano  # before `recast.models` takes it from there

    import cv2  # noqa: F401
    import einops  # noqa: F401
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch._dynamo  # noqa: F401  which optimisers import when they are first used

    import recast.loading
    import recast.retouch.editor  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits: the client has the exit code from its own socket
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return answer(client)
        client.close()


def answer(client: socket.socket) -> int:
    """Run what the client asks for, and tell it the exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words, streams, *_ = socket.recv_fds(client, 1 << 16, 3)
    while more := client.recv(1 << 16):
        words += more
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    told = json.loads(words)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    name, *argv = told["argv"]
    code = 1
    try:
        if name == "recast":
            program = str(Path(sys.executable).with_name("recast"))
            sys.argv = [program, *argv]
            runpy.run_path(program, run_name="__main__")
        else:
            flag, text = argv
            assert flag == "-c", argv
            sys.argv, sys.path = ["-c"], ["", *sys.path]
            exec(compile(text, "<example>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(bytes([code]))
    client.close()
    return code


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])))
