"""A real Slurm on one machine: two nodes, fake GPUs, a preempting partition."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

from tests.support import processes
from tests.support.project import PATIENCE, is_alive, wait_until

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")

CONFIGURATION = """\
ClusterName=ltbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
# A node that is only busy is not lost.
MessageTimeout=60
SlurmdTimeout=0
UnkillableStepTimeout=600
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=2000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=2000 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


def missing():
    """Return why no cluster can be started here, None where one can."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    return f"Slurm is not installed: no {', '.join(absent)}" if absent else None


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Cluster:
    """Runs until `stop`; `environment` is what commands for it need.

    Args:
        root: an empty folder for everything the cluster writes.
    """

    def __init__(self, root):
        self.root = root
        self.environment = os.environ | {
            "SLURM_CONF": str(root / "slurm.conf"),
            "PATH": search_path(),
        }
        for name in ("state", "log", "run", "gpu"):
            (root / name).mkdir(parents=True)
        root.chmod(0o755)
        (root / "run").chmod(0o755)
        key = root / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, root=root, ports=free_ports(3))
        (root / "slurm.conf").write_text(text)
        for number in range(2):
            os.mknod(root / "gpu" / str(number), 0o666 | 0o020000, os.makedev(1, 3))
        (root / "gres.conf").write_text(f"Name=gpu File={root}/gpu/[0-1]\n")
        run = root / "run"
        self.call(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid",
            f"--log-file={root}/log/munged.log",
            f"--seed-file={run}/munged.seed",
        )
        self.call("slurmctld", "-c")
        self.ready()

    def call(self, *args):
        """Run a command of the cluster; return what it prints."""
        done = subprocess.run(  # daemons leave its session, and would not survive the end of it
            args,
            env=self.environment,
            preexec_fn=processes.default_signals,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def ready(self):
        """Start the nodes, or resume those that are down, and wait."""
        for node in NODES:
            if self.process(f"slurmd-{node}") is None:
                self.call("slurmd", "-N", node)
            self.resume(node)
        self.wait_for(self.idle, 60)

    def idle(self):
        """Return whether all nodes wait for jobs."""
        return set(self.call("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}

    def wait_for(self, condition, seconds=PATIENCE):
        """Return a condition's value once it is true.

        Jobs that Slurm holds for two minutes after a requeue are hastened meanwhile.
        """

        def hastened():
            self.hasten()
            return condition()

        return wait_until(hastened, seconds, every=0.1, state=self.state)

    def hasten(self):
        """Let jobs that were requeued start now."""
        for job in self.held():
            self.call("scontrol", "update", f"jobid={job}", "StartTime=now")

    def held(self):
        """Return the jobs that Slurm lets wait because they were requeued."""
        lines = self.call("squeue", "-h", "-r", "-o", "%i %r").splitlines()
        return [line.split()[0] for line in lines if line.endswith("BeginTime")]

    def queue(self):
        """Return state by job id."""
        lines = self.call("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def dependent(self):
        """Return the jobs that wait for others."""
        lines = self.call("squeue", "-h", "-r", "-o", "%i %E").splitlines()
        return [line.split()[0] for line in lines if not line.endswith("(null)")]

    @contextmanager
    def closed(self, partition):
        """Let a partition start no job for the time being."""
        self.call("scontrol", "update", f"partitionname={partition}", "state=down")
        try:
            yield
        finally:
            self.call("scontrol", "update", f"partitionname={partition}", "state=up")

    def resume(self, node):
        """Resume a node that is down or drained."""
        state = self.call("sinfo", "-h", "-n", node, "-o", "%T")
        if "down" in state or "drain" in state:
            self.call("scontrol", "update", f"nodename={node}", "state=resume")

    def state(self):
        """Return the state of the cluster for error messages."""
        outputs = [self.call("sinfo", "-N", "-l"), self.call("sinfo", "-R"), self.call("squeue")]
        logs = sorted((self.root / "log").glob("slurm*.log"))
        return "\n".join(outputs + [f"{log.name}: {log.read_text()[-3000:]}" for log in logs])

    def process(self, daemon):
        """Return the process id of a daemon; None if not running."""
        file = self.root / "run" / f"{daemon}.pid"
        pid = int(file.read_text()) if file.exists() else 0
        return pid if is_alive(pid) else None

    def stop(self):
        """End all jobs and daemons."""
        self.call("scancel", "--user", "root")
        for daemon in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged"):
            if pid := self.process(daemon):
                end(pid)


def end(pid):
    """End a process that is no child of this one."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def free_ports(count):
    """Return ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
