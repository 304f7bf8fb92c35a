"""A temporary SLURM for tests: a controller and two nodes with two processors and two pretended GPUs each, all here."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 30.0
"""Seconds to wait for the nodes."""
MOST = 300.0
"""Timeout of an installation, in seconds."""
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=5
SlurmdTimeout=10
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=2000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=2000 Gres=gpu:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class CannotStartError(Exception):
    """The reason why there is no cluster; one line."""


class Cluster:
    """The running cluster.

    Attributes:
        nodes: processes of its nodes, by name.
    """

    def __init__(self, folder):
        self._folder = folder
        self.nodes = {}

    def ask(self, *command):
        """The output of one of SLURM's commands."""
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self, job):
        """The state of each task of a job, ended ones too."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--array", "--job", job, "--format=%K %T").splitlines()
        return {int(number): state for number, state in map(str.split, lines)}

    def wait(self, job, seconds):
        """Wait until every task of a job has ended; their states."""
        until = time.monotonic() + seconds
        while True:
            states = self.states(job)
            if not set(states.values()) & {"PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING"}:
                return states
            assert time.monotonic() < until, states
            time.sleep(0.5)

    def start_node(self, name):
        """Start a node, or start it again."""
        with (self._folder / f"{name}.log").open("a") as log:
            self.nodes[name] = subprocess.Popen(["slurmd", "-D", "-N", name], stdout=log, stderr=log)

    def kill_node(self, name):
        """Kill a node's daemon and everything that it has started, as a machine that loses power."""
        for process in _family(self.nodes[name].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.nodes[name].wait()


def _family(pid):
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


@contextlib.contextmanager
def cluster():
    """A cluster, and SLURM_CONF in the environment; where its programs are missing, BENCH_INSTALL=1 installs them."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None:
        _install()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    started = []
    before = os.environ.get("SLURM_CONF")
    try:
        started.append(_munge(folder))
        (folder / "state").mkdir()
        for name in NODES:
            (folder / f"spool.{name}").mkdir()
        text = CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3))
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/tty[0-1]\n")
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        made = Cluster(folder)
        with (folder / "slurmctld.log").open("w") as log:
            started.append(subprocess.Popen(["slurmctld", "-D"], stdout=log, stderr=log))
        for name in NODES:
            made.start_node(name)
        _wait_until_idle(folder)
        yield made
        started += made.nodes.values()
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.kill()
                process.wait()
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_idle(folder):
    until = time.monotonic() + PATIENCE
    said = ""
    while time.monotonic() < until:
        done = subprocess.run(["sinfo", "-hN", "-o", "%T"], capture_output=True, text=True, check=False, timeout=30)
        said = done.stdout.split() or done.stderr.strip()
        if said == ["idle", "idle"]:
            return
        time.sleep(0.2)
    log = (folder / "slurmctld.log").read_text().strip()[-300:]
    raise CannotStartError(f"SLURM's nodes are not idle ({said}): {log}")


def _munge(folder):
    """A munged of our own, with a key of its own."""
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    folder.chmod(0o755)
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    command = ["munged", "--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in names.items())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while not (folder / "munge.socket").exists():
        if process.poll() is not None or time.monotonic() > until:
            raise CannotStartError("munged does not start")
        time.sleep(0.05)
    return process


def _install():
    if os.environ.get("BENCH_INSTALL") != "1" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        advice = "`apt-get install slurm-wlm munge` as root, or BENCH_INSTALL=1 for the tests to do so"
        raise CannotStartError(f"SLURM is not installed: {advice}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        done = subprocess.run(
            ["apt-get", "-qq", *command], capture_output=True, text=True, check=False, env=environment, timeout=MOST
        )
        if done.returncode:
            raise CannotStartError(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")


def _free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
