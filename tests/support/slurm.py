"""A Slurm cluster of the tests' own: its real daemons, several nodes on this machine.

Each node has GPUs that are none: null devices stand in for /dev/nvidiaN, since Slurm gives out only
what is a file. Sources: slurm.conf(5), gres.conf(5), munged(8).
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .makes import UnavailableError
from .waiting import wait

# Seconds within which daemons end.
_STOP = 20

_CONFIGURATION = """\
ClusterName=envkit
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
KillWait=2
"""


class Slurm:
    """A cluster, which runs while it is entered.

    Attributes:
        environ: the variables with which Slurm's commands find it.
        nodes: the names of its nodes.
    """

    def __init__(self, *, nodes: int = 2, gpus: int = 2) -> None:
        """Prepare a cluster of so many nodes, with so many GPUs each.

        Raises:
            UnavailableError: Slurm is not installed, or its daemons cannot be started.
        """
        for program in ("slurmctld", "slurmd", "munged", "srun"):
            if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
                raise UnavailableError(f"no {program}: see tests/support/get_slurm.sh")
        if os.geteuid() != 0:
            raise UnavailableError("a cluster needs an administrator of a machine")
        # Not below pytest's folder: the path of a socket has at most 107 bytes (unix(7)).
        self._folder = Path(tempfile.mkdtemp(prefix="envkit-slurm-", dir="/var/tmp"))
        self._folder.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environ: Mapping[str, str] = {"SLURM_CONF": str(self._folder / "slurm.conf")}
        self._configure(gpus)

    def __enter__(self) -> "Slurm":
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def ask(self, *command: str) -> str:
        """Run a command of Slurm's, which has to succeed, and return what it printed."""
        environ = {**os.environ, **self.environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def jobs(self) -> list[str]:
        """Return the states of the jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--format=%T").split()

    def _configure(self, gpus: int) -> None:
        folder = self._folder
        host = socket.gethostname().partition(".")[0]
        first, *ports = _free_ports(1 + len(self.nodes))
        cpus = os.cpu_count() or 1
        lines = [_CONFIGURATION.format(host=host, port=first, folder=folder)]
        lines += [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
            f"RealMemory=500 Gres=gpu:{gpus} State=UNKNOWN"
            for name, port in zip(self.nodes, ports, strict=True)
        ]
        names = ",".join(self.nodes)
        lines.append(f"PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP")
        (folder / "slurm.conf").write_text("\n".join([*lines, ""]))
        for number in range(gpus):
            # The null device: memory devices are major 1, and it is minor 3 (null(4)).
            os.mknod(folder / f"nvidia{number}", 0o020666, os.makedev(1, 3))
        files = f"{folder}/nvidia[0-{gpus - 1}]"
        gres = [f"NodeName={name} Name=gpu File={files}\n" for name in self.nodes]
        (folder / "gres.conf").write_text("".join(gres))
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (folder / "state").mkdir()

    def _start(self) -> None:
        munge = self._folder / "munge"
        munge.mkdir(mode=0o755)
        (munge / "key").write_bytes(secrets.token_bytes(1024))
        (munge / "key").chmod(0o400)
        places = {
            **{"key-file": "key", "socket": "socket", "pid-file": "pid"},
            **{"log-file": "log", "seed-file": "seed"},
        }
        options = [f"--{option}={munge / name}" for option, name in places.items()]
        self._daemon("munged", "--foreground", *options)
        wait((munge / "socket").exists, "munged is there")
        self._daemon("slurmctld", "-D", "-c")
        for name in self.nodes:
            self._daemon("slurmd", "-D", "-N", name)
        wait(self._is_up, "the nodes are up")

    def _is_up(self) -> bool:
        for process in self._processes:
            assert process.poll() is None, f"{process.args!r} has ended; see {self._folder}"
        done = subprocess.run(
            ["/usr/bin/sinfo", "--noheader", "--Node", "--format=%t"],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split() == ["idle"] * len(self.nodes)

    def _daemon(self, *command: str) -> None:
        with (self._folder / "output").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    ["/usr/bin/setpriv", "--pdeathsig", "KILL", *command],
                    env={**os.environ, **self.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    def _remove(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder)


def _free_ports(count: int) -> Sequence[int]:
    """Return ports of loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
