"""What a program in the sandbox may use."""

from pydantic import Field

from derailleur.config import Config

_MIB = 1 << 20


class Limits(Config):
    """Limits of one program, its child processes included.

    Processor time decides first, since it hardly depends on what else the machine does; the wall clock is
    for programs that sleep or wait.
    """

    cpu_seconds: int = Field(10, gt=0, description="processor time of a process, seconds")
    wall_seconds: float = Field(40.0, gt=0, description="time until the program is killed, seconds")
    memory_bytes: int = Field(
        1024 * _MIB, gt=0, description="data of a process, and of all where cgroups are writable"
    )
    processes: int = Field(64, gt=0, description="processes and threads at once")
    disk_bytes: int = Field(64 * _MIB, gt=0, description="files in the working folder and /dev/shm, each")
    output_bytes: int = Field(
        1 * _MIB, gt=0, description="standard output and error together; more ends the program"
    )
    report_bytes: int = Field(
        8 * _MIB, gt=0, description="what a guest may send on its channel; more ends the program"
    )
