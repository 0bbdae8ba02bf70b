"""One thread for each test process: two processes on two cores beat two threads that wait for each other."""

import atexit
import os
import shutil
import signal
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch, NumPy
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # read when cv2 is imported; tests may set another number
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the network
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # our kernels run in Triton's interpreter; read when it is imported

# Tests leave the cache of whoever runs them alone, from the first import on: that of `recast.nano` may write to it.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # in the folder of the process that started it, which removes both
    os.environ["XDG_CACHE_HOME"] = os.path.join(os.environ["XDG_CACHE_HOME"], worker)
else:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="recast-cache-of-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts jobs in the background so: Ctrl-C is tested too
    signal.signal(signal.SIGINT, signal.default_int_handler)
