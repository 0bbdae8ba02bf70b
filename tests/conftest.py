"""One thread for each test process: two processes on two cores beat two threads that wait for each other."""

import os
import shutil
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch, NumPy
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # read when cv2 is imported; tests may set another number
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the network
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # our kernels run in Triton's interpreter; read when it is imported

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts jobs in the background so: Ctrl-C is tested too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Tests leave the cache of whoever runs them alone."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
